"""The Aerospike servers of a chaos run that is given the commands to start them: stopped, killed and started again.

What is done to them stays within what a cluster promises. Of several, one at a time is killed, and the next one when
the last one's records are in two places again; one is stopped for less time than the others take to give it up (without
strong consistency, one that wakes up later may take writes that are lost). A single server is ended by SIGTERM, on
which it keeps what it has acknowledged.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aerospike import exception

from bench.direct import Direct
from store import StoreError
from store.aerospike.cluster import ask_nodes
from utxod.own_daemon import DaemonError, end_with_parent, last_lines

_READY_SECONDS: Final = 90.0
_END_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1


class Nodes:
    """commands: each starts a server in the foreground, in a directory of its own; paths in it are absolute. url: of
    the set that they keep."""

    def __init__(self, directory: Path, commands: Sequence[str], url: str) -> None:
        self._directories = [directory / f"node-{number}" for number in range(len(commands))]
        self._commands = commands
        self._url = url
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * len(commands)
        self._stopped: set[int] = set()

    def __len__(self) -> int:
        return len(self._commands)

    @property
    def are_up(self) -> bool:
        return not self._stopped and all(process is not None for process in self._processes)

    def start(self) -> None:
        """Those that are down; those that are stopped go on. Returns when the cluster is whole. Raises DaemonError."""
        self.all_go_on()
        for number in range(len(self)):
            self.start_one(number)
        self.wait()

    def start_one(self, number: int) -> None:
        if self._processes[number] is not None:
            return
        directory = self._directories[number]
        directory.mkdir(exist_ok=True)
        with (directory / "out.log").open("ab") as output:
            self._processes[number] = subprocess.Popen(
                shlex.split(self._commands[number]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 (one C call)
            )

    def take_down(self, number: int) -> str:
        """SIGKILL for one of several, SIGTERM for the only one; the signal's name."""
        process = self._processes[number]
        if process is None:
            return "nothing"
        self.go_on(number)
        sent = signal.SIGKILL if len(self) > 1 else signal.SIGTERM
        process.send_signal(sent)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            raise DaemonError(f"server {number} did not end within {_END_SECONDS:g} s of {sent.name}") from None
        self._processes[number] = None
        return sent.name

    def stop(self, number: int) -> None:
        process = self._processes[number]
        if process is not None:
            process.send_signal(signal.SIGSTOP)
            self._stopped.add(number)

    def all_go_on(self) -> None:
        for number in range(len(self)):
            self.go_on(number)

    def go_on(self, number: int) -> None:
        process = self._processes[number]
        if process is not None and number in self._stopped:
            process.send_signal(signal.SIGCONT)
        self._stopped.discard(number)

    def is_whole(self) -> bool:
        """Whether all nodes are in the cluster, and each record is where it should be."""
        with (
            contextlib.suppress(StoreError, exception.AerospikeError),  # so a node says that it is not
            contextlib.closing(Direct(self._url)) as direct,
        ):
            question = f"cluster-stable:size={len(self)};ignore-migrations=false;namespace={direct.namespace}"
            answers = ask_nodes(direct.client, question)
            return len(answers) == len(self) and all("ERROR" not in text and text for text in answers.values())
        return False

    def wait(self) -> None:
        """Raises DaemonError where the cluster does not become whole."""
        until = time.monotonic() + _READY_SECONDS
        while not self.is_whole():
            for number, process in enumerate(self._processes):
                if process is not None and process.poll() is not None:
                    raise DaemonError(
                        f"server {number} has ended:\n{last_lines(self._directories[number] / 'out.log')}"
                    )
            if time.monotonic() > until:
                raise DaemonError(f"the servers are no cluster of {len(self)} after {_READY_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)

    def destroy(self) -> None:
        for process in self._processes:
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
