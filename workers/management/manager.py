"""The worker processes of one daemon: how many of each pool there are to be, and those that there are.

One that dies is replaced: at once, or in a crash loop with growing delay, also where none can be started at all (no
processes or descriptors left, the interpreter away in an upgrade): a worker that can't start costs no more than a try
every ten seconds. One that is terminated dumps its stacks and is killed.
"""

import logging
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from workers.launch import START_FAILED_STATUS, WorkerSettings

from .crash_loop import CrashLoop
from .process import WorkerProcess
from .signals import signal_name

log = logging.getLogger("utxod.workers")

# How long a worker may take from its start to its first credit.
_START_SECONDS: Final = 30.0
# Between the order to a wedged worker to dump its stacks, and its end.
_DUMP_SECONDS: Final = 0.2
# How long a killed worker may take to be gone: longer where it hangs in the kernel.
_GONE_SECONDS: Final = 2.0


class Links(Protocol):
    """connect: gives a worker's side of a new link, which is closed once the worker has it; raises OSError."""

    def connect(self, identity: bytes) -> socket.socket: ...

    def disconnect(self, identity: bytes) -> None: ...


class WorkerManager:
    """template: the settings of every worker, but for pool and link. counts: workers per pool to begin with. links: to
    the workers; whoever is told of a worker's end disconnects it. watch, unwatch: whether `reap` is to be called when a
    descriptor can be read. Times are seconds, monotonic.
    """

    def __init__(
        self,
        template: WorkerSettings,
        counts: Mapping[str, int],
        *,
        links: Links,
        watch: Callable[[int], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self._template = template
        self._links = links
        self._watch = watch
        self._unwatch = unwatch
        self.counts = dict(counts)
        self.processes: dict[bytes, WorkerProcess] = {}
        self._store_refused = False
        self._crash_loops = {pool: CrashLoop(pool) for pool in counts}
        self._to_kill: dict[WorkerProcess, float] = {}
        self._found_stopped: set[WorkerProcess] = set()

    @property
    def could_not_start(self) -> bool:
        """Whether a worker could not open the store, or nothing but failures has come of many starts in a row."""
        return self._store_refused or any(loop.has_lasted for loop in self._crash_loops.values())

    def members(self, pool: str) -> list[WorkerProcess]:
        """The pool's workers that are to stay, oldest first."""
        return [process for process in self.processes.values() if process.pool == pool and not process.leaving]

    def tend(self, now: float) -> bool:
        """Ends what is due, and starts one that is missing: a start takes as long as the machine is busy. Returns
        whether more are due to be started."""
        for process, due in list(self._to_kill.items()):
            if now >= due:
                del self._to_kill[process]
                process.kill()
        for pool, loop in self._crash_loops.items():
            if members := self.members(pool):
                loop.runs(members[-1].started, now)
        missing = sorted((len(self.members(pool)), pool) for pool in self.counts if self._is_start_due(pool, now))
        for _, pool in missing[:1]:
            try:
                self.start(pool, now)
            except Exception as error:
                defect = not isinstance(error, OSError)
                log.error("a %s worker can't be started: %s", pool, error, exc_info=defect)
                self._crash_loops[pool].start_failed(now)
        return any(self._is_start_due(pool, now) for _, pool in missing)

    def _is_start_due(self, pool: str, now: float) -> bool:
        return len(self.members(pool)) < self.counts[pool] and self._crash_loops[pool].allows_start(now)

    def start(self, pool: str, now: float) -> WorkerProcess:
        """Raises OSError where the host has not what it takes."""
        identity = secrets.token_bytes(8)
        with self._links.connect(identity) as link:
            try:
                process = WorkerProcess(identity, replace(self._template, pool=pool, link=link.fileno()), now)
            except BaseException:
                self._links.disconnect(identity)
                raise
        self.processes[identity] = process
        self._watch(process.descriptor)
        log.info("started %s worker %d", pool, process.pid)
        return process

    def scale(self, pool: str, by: int, most: int) -> list[WorkerProcess]:
        """The pool is to have `by` more workers, or less: from one to `most`. Returns those that are too many."""
        self.counts[pool] = min(most, max(1, self.counts[pool] + by))
        log.info("%s workers: %d", pool, self.counts[pool])
        return self.members(pool)[self.counts[pool] :]

    def terminate(self, identity: bytes, reason: str, now: float) -> None:
        """Ends a worker that is wedged, stopped or answers nonsense. Its stacks go to the log, if it can write."""
        process = self.processes.get(identity)
        if process is not None:
            process.leaving = True
            process.terminated_because = reason
            log.error("%s worker %d %s; it dumps its stacks and is ended", process.pool, process.pid, reason)
            process.dump()
            self._to_kill[process] = now + _DUMP_SECONDS

    def find_failing(self, now: float, is_ready: Callable[[bytes], bool]) -> list[tuple[bytes, str]]:
        """The workers that are to be terminated, each with the reason: found stopped now and at the look before, or not
        become ready in their time. is_ready: whether the worker of that identity can be given work."""
        stopped = {
            process for process in self.processes.values() if not process.terminated_because and process.is_stopped()
        }
        failing = {process.identity: "is stopped" for process in stopped & self._found_stopped}
        self._found_stopped = stopped
        for identity, process in self.processes.items():
            if now - process.started > _START_SECONDS and not process.leaving and not is_ready(identity):
                failing.setdefault(identity, f"has not become ready in {_START_SECONDS:g} s")
        return list(failing.items())

    def kill(self) -> None:
        """Kills all that are left, without waiting for their end."""
        for process in self.processes.values():
            process.kill()

    def end(self) -> None:
        """Kills those that are left, and waits until they are gone, for as long as that can take; nobody is told."""
        self.kill()
        until = time.monotonic() + _GONE_SECONDS
        for process in self.processes.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("%s worker %d was killed, and hangs in the kernel", process.pool, process.pid)
        self.processes.clear()

    def reap(self, descriptor: int) -> tuple[WorkerProcess, str]:
        """Collects the exit status of the worker whose descriptor can be read. Gives it, and why it ended in words."""
        process = next(process for process in self.processes.values() if process.descriptor == descriptor)
        self._unwatch(descriptor)
        status = process.wait()
        del self.processes[process.identity]
        self._to_kill.pop(process, None)
        self._found_stopped.discard(process)
        reason = process.terminated_because or _in_words(status)
        level = logging.INFO if process.leaving and not process.terminated_because else logging.WARNING
        log.log(level, "%s worker %d is gone: it %s", process.pool, process.pid, reason)
        if not process.leaving:
            self._store_refused = self._store_refused or status == START_FAILED_STATUS
            self._crash_loops[process.pool].exited(process.started, time.monotonic())
        return process, reason


def _in_words(status: int) -> str:
    if status < 0:
        return f"was ended by {signal_name(-status)}"
    return "could not start" if status == START_FAILED_STATUS else f"exited with status {status}"
