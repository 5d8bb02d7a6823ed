"""What surrounds a daemon, made hard for it: descriptors, processes, its log, its files, signals, peers, a second one.

Each method imposes one of these, and returns what it is in words, and how it is lifted again; None where it could not
be. What the daemon does that it must not do then is added to its complaints.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from tests.chaos.crowd import FRAMES, NONSENSE, STRANGERS, SUBMITTERS
from tests.chaos.daemon import WORKERS, Daemon
from tests.chaos.processes import start_process
from utxod.own_daemon import last_lines

# Orders, to end or to change the workers, are no surprise.
_ORDERS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP}
_SIGNALS: Final = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - _ORDERS)
_WORKER_SIGNALS: Final = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_NAMELESS: Final = 40
_SUBMITTERS: Final = 200
_NONSENSICAL: Final = 4
_STRANGERS: Final = 48
_CROWD_LEAVES_SECONDS: Final = 60.0
_REFUSES_SECONDS: Final = 60.0
_COMES_SECONDS: Final = 60.0
_TOGETHER_SECONDS: Final = 1.5
_ENDS_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.01


class Imposed(NamedTuple):
    """lift: None where there is nothing to be lifted."""

    what: str
    lift: Callable[[], None] | None = None


class Surroundings:
    """chance: of what is not given."""

    def __init__(self, daemon: Daemon, chance: random.Random) -> None:
        self._daemon = daemon
        self._random = chance

    # ---- of the host

    def descriptors_ipc(self) -> Imposed | None:
        """Next to none are left when a crowd of submitters comes."""
        return self._descriptors(self._daemon.endpoint)

    def descriptors_tcp(self) -> Imposed | None:
        return self._descriptors(self._daemon.tcp_endpoint)

    def _descriptors(self, endpoint: str) -> Imposed | None:
        more = self._random.choice((0, 10, 40, 100))
        try:
            lift_limit = self._daemon.limit_descriptors(more)
        except (psutil.Error, OSError):
            return None  # it has just ended
        leave = self._crowd(SUBMITTERS, [endpoint], _SUBMITTERS)

        def lift() -> None:
            leave()
            lift_limit()

        return Imposed(f"{more} left, and {_SUBMITTERS} come to {endpoint}", lift)

    def no_interpreter(self) -> Imposed:
        """Workers die, and none can be started."""
        self._daemon.take_interpreter_away()
        return Imposed(self._signal_one_of_each(signal.SIGKILL), self._daemon.put_interpreter_back)

    def log_unread(self) -> Imposed:
        """The pipe is full, and there is something to be said."""
        pipe = self._daemon.log_pipe
        pipe.stop()
        return Imposed(self._signal_one_of_each(signal.SIGKILL), pipe.go_on)

    def sweep(self) -> Imposed:
        self._daemon.sweep()
        return Imposed(self._signal_worker(self._any_pool(), signal.SIGKILL))

    # ---- signals

    def signal_daemon(self) -> Imposed:
        number = self._random.choice(_SIGNALS)
        self._daemon.process.send_signal(number)
        return Imposed(str(number))

    def signal_worker(self) -> Imposed:
        return Imposed(self._signal_worker(self._any_pool(), self._random.choice(_WORKER_SIGNALS)))

    def nameless_signal(self) -> Imposed:
        """One of each pool is ended by a signal without a name."""
        return Imposed(self._signal_one_of_each(_NAMELESS))

    def _signal_one_of_each(self, number: int) -> str:
        return ", ".join(self._signal_worker(pool, number) for pool in WORKERS)

    def _signal_worker(self, pool: str, number: int) -> str:
        """The pool's oldest; what was done, in words."""
        for worker in self._daemon.workers(pool)[:1]:
            with contextlib.suppress(psutil.Error):
                worker.send_signal(number)
                return f"signal {number:d} to {worker.pid}"
        return f"there is no {pool} worker"

    def _any_pool(self) -> str:
        return self._random.choice(list(WORKERS))

    # ---- peers

    def many_frames(self) -> Imposed:
        """Where the callers are."""
        return Imposed(f"to {self._daemon.endpoint}", self._crowd(FRAMES, [self._daemon.endpoint], 1))

    def nonsense(self) -> Imposed:
        return Imposed(f"of {_NONSENSICAL}", self._crowd(NONSENSE, self._endpoints(), _NONSENSICAL))

    def strangers(self) -> Imposed:
        return Imposed(f"{_STRANGERS} of them", self._crowd(STRANGERS, self._endpoints(), _STRANGERS))

    def _endpoints(self) -> list[str]:
        return [self._daemon.endpoint, self._daemon.tcp_endpoint]

    def _crowd(self, kind: str, endpoints: Sequence[str], count: int) -> Callable[[], None]:
        """Comes; what is returned makes it leave."""
        settings = {"kind": kind, "endpoints": endpoints, "count": count}
        directory, log = self._daemon.directory, f"{kind}.log"
        crowd = start_process("tests.chaos.crowd", settings, directory, log, stdin=subprocess.PIPE)

        def leave() -> None:
            if _end_input(crowd) != 0:
                self._complain(f"the crowd of {kind}: {last_lines(directory / log)}")

        return leave

    # ---- another daemon

    def second_daemon(self) -> Imposed | None:
        """It must refuse, and leave all as it was. None where the first one's lock was swept away."""
        before = self._lock()
        if not before:
            return None
        second = self._daemon.start_second(self._daemon.directory / "second.log")
        try:
            refuses = second.wait(_REFUSES_SECONDS) != 0
        except subprocess.TimeoutExpired:
            refuses = False
            _end(second)
        if not refuses:
            self._complain("a second daemon did not refuse to serve at the first one's address")
        if self._lock() != before:
            self._complain("a second daemon has taken the first one's lock away")
        return Imposed("which refuses")

    def second_daemon_after_sweep(self) -> Imposed:
        """It takes the address of the first, which is stopped while its files are swept away; both serve for a moment,
        and then the first again alone."""
        first = self._daemon.process
        first.send_signal(signal.SIGSTOP)
        try:
            self._daemon.sweep()
            second = self._daemon.start_second(self._daemon.directory / "second.log")
            until = time.monotonic() + _COMES_SECONDS
            while not self._lock() and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS)
        finally:
            first.send_signal(signal.SIGCONT)
        time.sleep(_TOGETHER_SECONDS)
        status = _end(second)
        if status != 0:
            log = last_lines(self._daemon.directory / "second.log")
            self._complain(f"the second daemon ended with status {status} after SIGTERM:\n{log}")
        return Imposed("which serves for a moment")

    def _lock(self) -> tuple[int, str] | None:
        """Whose the address is: the lock's file, and what is in it. None where it is nobody's."""
        lock = Path(f"{self._daemon.endpoint.removeprefix('ipc://')}.lock")
        with contextlib.suppress(FileNotFoundError):
            return os.stat(lock).st_ino, lock.read_text()
        return None

    def _complain(self, text: str) -> None:
        self._daemon.complaints.append(text)


def _end_input(process: "subprocess.Popen[bytes]") -> int:
    if process.stdin is not None:
        process.stdin.close()
    try:
        return process.wait(_CROWD_LEAVES_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _end(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_ENDS_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
