"""The daemon of a chaos run: one address and a port, one set, faults of its store in a file; started again and again.

What surrounds it can be taken away: its interpreter is a link of its own, and its log a pipe.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psutil

from bench.faults import write_faults
from protocol import Client, UtxodError
from store.faulty import Fault
from tests.chaos.log_pipe import LogPipe
from tests.chaos.parents import UTXO_BATCH_SIZE
from utxod.own_daemon import DaemonError, end_with_parent, environment, last_lines

WORKERS: Final = {"read": 2, "write": 3, "children": 2}
DRAIN_SECONDS: Final = 3.0
EXECUTION_LIMIT_SECONDS: Final = 1.2
_SETTINGS: Final = {
    "broker.budget_seconds": 0.8,
    "broker.grace_seconds": EXECUTION_LIMIT_SECONDS - 0.8,
    "broker.probe_seconds": 0.3,
    "broker.workerless_seconds": 2.0,
    "drain_seconds": DRAIN_SECONDS,
}
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = DRAIN_SECONDS + 20.0
# How long workers may outlive a daemon that was killed: one that was just started has yet to look for it.
_ALONE_SECONDS: Final = 20.0
# What the system may take to be rid of those that the daemon has waited for.
_GONE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.01
_LOG_SECONDS: Final = 2.0
_ANY_PORT: Final = "tcp://127.0.0.1:0"
_SMALLEST_MAP: Final = 4096  # LMDB then takes what is there, and no more


class NamedFaults:
    """The faults that the workers' stores read from a file, by name. What hits every batch comes last."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._faults: dict[str, Fault] = {}

    def set(self, name: str, **fault: Any) -> None:
        self._faults.pop(name, None)
        self._faults[name] = fault
        self._write()

    def clear(self, name: str) -> None:
        if self._faults.pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        write_faults(self.file, sorted(self._faults.values(), key=lambda fault: fault.get("times", 1) is None))


class Daemon:
    """directory: where everything of it is. store: URL of an empty set in Aerospike; None for an embedded one in the
    directory. atomic: whether its store's batches are one whole. complaints: what it did that it must not do, in
    words. tcp_endpoint: where it listens beside `endpoint`, another one after each start. temporary: its directory for
    temporary files. log_pipe: of its last start."""

    def __init__(self, directory: Path, *, store: str | None, atomic: bool) -> None:
        self.directory = directory
        self.endpoint = f"ipc://{directory / 'utxod.sock'}"
        self.is_embedded = store is None
        if store is None:
            store = f"lmdb://{quote(str(directory / 'store'))}?sync=false"
        elif "blobs=" not in store:
            store += f"{'&' if '?' in store else '?'}blobs={quote(str(directory / 'blobs'))}"
        self.store_url = f"{store}&utxo_batch_size={UTXO_BATCH_SIZE}"
        self.in_doubt_log = directory / "state" / "in-doubt.jsonl"
        self.log = directory / "daemon.log"
        self.temporary = directory / "tmp"
        self.tcp_endpoint = ""
        self.atomic = atomic
        self.faults = NamedFaults(directory / "faults.json")
        self.complaints: list[str] = []
        self.starts = 0
        self._interpreter = directory / "python"
        self._command: list[str] = []
        self._descriptors = 0

    def start(self, *, full: bool = False) -> None:
        """Returns when it serves. full: its set has no room for more. Raises DaemonError."""
        self.starts += 1
        url = f"faulty+{self.store_url}&faults={quote(str(self.faults.file))}&atomic={str(self.atomic).lower()}"
        command = [str(self._interpreter), "-m", "utxod", "serve", "--listen", self.endpoint, "--listen", _ANY_PORT]
        command += ["--store", f"{url}&map_size={_SMALLEST_MAP}" if full else url]
        settings = {**_SETTINGS, **{f"workers.{pool}": count for pool, count in WORKERS.items()}}
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        self.temporary.mkdir(exist_ok=True)
        self.put_interpreter_back()
        with self.log.open("ab") as output:
            output.write(f"---- {shlex.join(command)}\n".encode())
        self._command = command
        self.log_pipe = LogPipe(self.log)
        try:
            self.process = self._popen(command, self.log_pipe.writing)
        finally:
            os.close(self.log_pipe.writing)
        report = self.wait_for(lambda report: all(pool["workers"] for pool in report["pools"].values()), _START_SECONDS)
        self.tcp_endpoint = next(address for address in report["listen"] if address.startswith("tcp://"))
        self._descriptors = self.descriptors()

    def start_second(self, log: Path) -> "subprocess.Popen[bytes]":
        """Another one at the same address, on the same set."""
        with log.open("ab") as output:
            return self._popen([sys.executable, *self._command[1:]], output.fileno())

    def _popen(self, command: list[str], output: int) -> "subprocess.Popen[bytes]":
        path = os.pathsep.join((environment(self.directory)["PYTHONPATH"], sysconfig.get_path("purelib")))
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(self.directory) | {"TMPDIR": str(self.temporary), "PYTHONPATH": path},
            cwd=self.directory,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 (one C call)
        )

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """The first report that fulfils the condition. Raises DaemonError."""
        until = time.monotonic() + seconds
        report: dict[str, Any] = {}
        with Client(self.endpoint, timeout=1.0) as client:
            while time.monotonic() < until:
                with contextlib.suppress(UtxodError):
                    report = client.status(timeout=0.5)
                    if condition(report):
                        return report
                if self.process.poll() is not None:
                    self.log_pipe.finish(_LOG_SECONDS)
                    break
                time.sleep(_LOOK_SECONDS)
        raise DaemonError(f"the daemon is not as it should be: {report}\n{last_lines(self.log)}")

    # ---- its end

    def kill(self) -> None:
        """SIGKILL; its workers must end by themselves."""
        workers = self.workers()
        self.process.kill()
        self.process.wait()
        self._complain_of_survivors(workers, _ALONE_SECONDS)

    def drain(self) -> None:
        """SIGTERM; it must end within its limit, with status 0 and without a worker left."""
        workers = self.workers()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.complaints.append(f"the daemon did not end within {_END_SECONDS:g} s of SIGTERM")
            self.kill()
            return
        if status != 0:
            self.log_pipe.finish(_LOG_SECONDS)
            self.complaints.append(f"the daemon ended with status {status} after SIGTERM:\n{last_lines(self.log)}")
        self._complain_of_survivors(workers, _GONE_SECONDS)

    def restart_if_it_ended(self) -> None:
        if self.process.poll() is not None:
            self.log_pipe.finish(_LOG_SECONDS)
            self.complaints.append(
                f"the daemon ended by itself, with status {self.process.returncode}:\n{last_lines(self.log)}"
            )
            self.start()

    def destroy(self) -> None:
        """At the end of a run that failed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    # ---- what surrounds it

    def take_interpreter_away(self) -> None:
        """No worker can be started, nor the daemon."""
        self._interpreter.unlink(missing_ok=True)

    def put_interpreter_back(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._interpreter.symlink_to(sys.executable)

    def sweep(self) -> None:
        """Removes all such files of it."""
        for path in self.files():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """What it has in the directory for temporary files, and at its address."""
        socket = Path(self.endpoint.removeprefix("ipc://"))
        return [*self.temporary.iterdir(), *socket.parent.glob(f"{socket.stem}.*")]

    def limit_descriptors(self, more: int) -> Callable[[], None]:
        """So many more than it has, at most; what is returned lifts that. Only the soft limit: anybody may raise it."""
        process = psutil.Process(self.process.pid)
        _, hard = process.rlimit(psutil.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{process.pid}/fd"))
        process.rlimit(psutil.RLIMIT_NOFILE, (highest + 1 + more, hard))

        def lift() -> None:
            with contextlib.suppress(psutil.Error):
                process.rlimit(psutil.RLIMIT_NOFILE, (hard, hard))

        return lift

    # ---- what it is made of

    def workers(self, pool: str | None = None) -> list[psutil.Process]:
        """The workers of a pool, or all, oldest first, as the system knows them."""
        found = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error, ValueError, IndexError):
                    *_, module, settings = process.cmdline()
                    if module == "workers" and pool in (None, json.loads(settings)["pool"]):
                        found.append(process)
        return found

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def descriptors_gained(self) -> int:
        """Since its last start; both times without a client."""
        return self.descriptors() - self._descriptors

    def processes_left(self) -> list[int]:
        """Processes of this run's daemons that are still there."""
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self.directory / "faults.json") in word for word in process.cmdline()):
                    left.append(process.pid)
        return left

    def _complain_of_survivors(self, workers: list[psutil.Process], seconds: float) -> None:
        _, alive = psutil.wait_procs(workers, seconds)
        for worker in alive:
            self.complaints.append(f"worker {worker.pid} has outlived its daemon by {seconds:g} s")
