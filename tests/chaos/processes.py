"""The client processes of a chaos run, from outside: started, killed and replaced, and waited for."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.chaos.generator import ClientSettings
from utxod.own_daemon import environment, last_lines


def start_process(
    module: str, settings: dict[str, Any], directory: Path, log: str, stdin: int = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
    """`python -m module SETTINGS` in the run's directory, where it writes to the file `log`."""
    with (directory / log).open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(settings)],
            stdin=stdin,
            stdout=output,
            stderr=output,
            env=environment(directory),
            cwd=directory,
        )


class Clients:
    """The client processes, one per slot; one that is killed is replaced. killed: the names of those."""

    def __init__(self, directory: Path, endpoint: str, seed: int, slots: int, callers: int, seconds: float) -> None:
        self.directory = directory
        self.started = time.monotonic()
        self.until = self.started + seconds
        self.killed: set[str] = set()
        self._common = {
            "endpoint": endpoint, "slots": slots, "callers": callers, "seed": seed,
            "started": self.started, "until": self.until,
        }  # fmt: skip
        self._started = 0
        self.names = [""] * slots
        self.processes: list[subprocess.Popen[bytes]] = [self._start(slot) for slot in range(slots)]

    def _start(self, slot: int) -> "subprocess.Popen[bytes]":
        self._started += 1
        name = self.names[slot] = f"client-{self._started}"
        settings = ClientSettings(
            history=str(self.directory / f"{name}.jsonl"), name=name, slot=slot, use_asyncio=slot % 2 == 1,
            **self._common,  # type: ignore[arg-type]
        )  # fmt: skip
        return start_process("tests.chaos.clients", settings.__dict__, self.directory, "clients.log")

    def kill(self, slot: int) -> None:
        process = self.processes[slot]
        if process.poll() is None:
            process.kill()
            process.wait()
            self.killed.add(self.names[slot])
            self.processes[slot] = self._start(slot)

    def wait(self, seconds: float) -> list[str]:
        """Until all have ended; what was wrong with them, in words."""
        complaints = []
        until = time.monotonic() + seconds
        for process in self.processes:
            try:
                status = process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                complaints.append(f"a client process did not end within {seconds:g} s of its time")
                process.kill()
                status = process.wait()
            if status not in (0, -signal.SIGKILL):
                complaints.append(f"a client process failed: {last_lines(self.directory / 'clients.log')}")
        return complaints

    def destroy(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
