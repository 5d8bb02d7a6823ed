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
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, Protocol

from workers.launch import START_FAILED_STATUS, WorkerSettings

from .crash_loop import CrashLoop
from .exit_status import in_words
from .process import Cause, WorkerProcess

log = logging.getLogger("utxod.workers")

# What a worker can be found at.
Failure = Literal["stopped", "not_ready"]

# How long a worker may take from its start to its first credit.
_START_SECONDS: Final = 30.0
# How many may be starting at once where nothing is known of the machine yet: more of them than it has time for would
# keep each other, and the daemon, from it, and none of hundreds might be ready in time. From then on as many as have
# become ready within the last seconds, which is how long each will take. Processors do not tell: a container may have
# a small share of many.
_FIRST_STARTING: Final = 8
_PACE_SECONDS: Final = 3.0
# Between the order to a wedged worker to dump its stacks, and its end; and for how much longer that waits for those of
# one that gets no processor.
_DUMP_SECONDS: Final = 0.2
_DUMP_LATE_SECONDS: Final = 1.0
# How long a killed worker may take to be gone: longer where it hangs in the kernel.
_GONE_SECONDS: Final = 2.0


class Links(Protocol):
    """connect: gives a worker's side of a new link, which is closed once the worker has it; raises OSError."""

    def connect(self, identity: bytes) -> socket.socket: ...

    def disconnect(self, identity: bytes) -> None: ...


class WorkerManager:
    """template: the settings of every worker that is started from now on, but for pool and link. counts: workers that
    each pool is to have. links: to the workers; whoever is told of a worker's end disconnects it. watch, unwatch:
    whether `reap` is to be called when a descriptor can be read. starts: by pool, also those that failed. exits: of
    these workers, by pool and cause. Times are seconds, monotonic.
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
        self.template = template
        self._links = links
        self._watch = watch
        self._unwatch = unwatch
        self.counts = dict(counts)
        self.processes: dict[bytes, WorkerProcess] = {}
        self.starts: Counter[str] = Counter()
        self.exits: Counter[tuple[str, Cause]] = Counter()
        self._store_refused = False
        self._crash_loops = {pool: CrashLoop(f"{pool} worker") for pool in counts}
        self._became_ready: deque[float] = deque()  # when each did that has of late
        self._to_kill: dict[WorkerProcess, float] = {}
        self._found_stopped: set[WorkerProcess] = set()

    @property
    def could_not_start(self) -> bool:
        """Whether a worker could not open the store, or nothing but failures has come of many starts in a row."""
        return self._store_refused or any(loop.has_lasted for loop in self._crash_loops.values())

    def members(self, pool: str) -> list[WorkerProcess]:
        """The pool's workers that are to stay, oldest first."""
        return [process for process in self.processes.values() if process.pool == pool and not process.leaving]

    def is_leaving(self, identity: bytes) -> bool:
        """Whether it is to end, or has."""
        process = self.processes.get(identity)
        return process is None or process.leaving

    def tend(self, now: float, is_ready: Callable[[bytes], bool]) -> bool:
        """Ends what is due, and starts one that is missing: a start takes as long as the machine is busy. Returns
        whether more can be started at once. is_ready: as for `find_failing`."""
        for process, due in list(self._to_kill.items()):
            if now >= due and (now >= due + _DUMP_LATE_SECONDS or process.stacks() or process.is_stopped()):
                del self._to_kill[process]
                _log_stacks(process)
                process.kill()
        for pool, loop in self._crash_loops.items():
            if members := self.members(pool):
                loop.runs(members[-1].started, now)
        if self._starting(now, is_ready) >= max(_FIRST_STARTING, len(self._became_ready)):
            return False
        missing = sorted((len(self.members(pool)), pool) for pool in self.counts if self._is_start_due(pool, now))
        for _, pool in missing[:1]:
            try:
                self.start(pool, now)
            except Exception as error:
                defect = not isinstance(error, OSError)
                log.error("a %s worker can't be started: %s", pool, error, exc_info=defect, extra={"pool": pool})
                self._crash_loops[pool].start_failed(now)
        return any(self._is_start_due(pool, now) for _, pool in missing)

    def _starting(self, now: float, is_ready: Callable[[bytes], bool]) -> int:
        """How many are starting, those included that were killed at that and are not gone yet: a disk that hangs keeps
        them, and all that would follow. Those that have come to be ready are noted."""
        while self._became_ready and now - self._became_ready[0] > _PACE_SECONDS:
            self._became_ready.popleft()
        starting = 0
        for process in self.processes.values():
            if not process.has_started and is_ready(process.identity):
                process.has_started = True
                self._became_ready.append(now)
                # There is a set. One that were made now would take the place of it, and hide all that it holds.
                self.template = replace(self.template, may_create=False)
            starting += not process.has_started
        return starting

    def _is_start_due(self, pool: str, now: float) -> bool:
        return len(self.members(pool)) < self.counts[pool] and self._crash_loops[pool].allows_start(now)

    def start(self, pool: str, now: float) -> WorkerProcess:
        """Raises OSError where the host has not what it takes."""
        self.starts[pool] += 1
        try:
            process = self._start(secrets.token_bytes(8), pool, now)
        except BaseException:
            self.exits[pool, "start_failed"] += 1
            raise
        identity = process.identity
        self.processes[identity] = process
        self._watch(process.descriptor)
        log.info("started %s worker %d", pool, process.pid, extra=process.fields)
        return process

    def _start(self, identity: bytes, pool: str, now: float) -> WorkerProcess:
        with self._links.connect(identity) as link:
            try:
                return WorkerProcess(identity, replace(self.template, pool=pool, link=link.fileno()), now)
            except BaseException:
                self._links.disconnect(identity)
                raise

    def scale(self, pool: str, count: int) -> None:
        """The pool is to have so many workers."""
        self.counts[pool] = count
        log.info("%s workers: %d", pool, count, extra={"pool": pool})

    def surplus(self, replacement: bytes | None) -> list[WorkerProcess]:
        """Those that are too many in their pools, the newest. replacement: one that is there beside whom it is to
        replace."""
        surplus: list[WorkerProcess] = []
        for pool, count in self.counts.items():
            members = [process for process in self.members(pool) if process.identity != replacement]
            surplus += members[count:]
        return surplus

    def terminate(self, identity: bytes, cause: Cause, reason: str, now: float) -> None:
        """Ends a worker that can't go on. Its stacks go to the log, if it can write. reason: the cause in words."""
        process = self.processes.get(identity)
        if process is not None:
            process.leave(now)
            process.cause = process.cause or cause
            process.terminated_because = reason
            log.error(
                "%s worker %d %s; it dumps its stacks and is ended",
                process.pool,
                process.pid,
                reason,
                extra=process.fields,
            )
            process.dump()
            self._to_kill[process] = now + _DUMP_SECONDS

    def find_failing(self, now: float, is_ready: Callable[[bytes], bool]) -> list[tuple[bytes, Failure, str]]:
        """The workers that are to be terminated, each with the cause, and the same in words: found stopped now and at
        the look before, or not become ready in their time. is_ready: whether the worker of that identity can be given
        work."""
        stopped = {
            process for process in self.processes.values() if not process.terminated_because and process.is_stopped()
        }
        failing: dict[bytes, tuple[Failure, str]] = {
            process.identity: ("stopped", "is stopped") for process in stopped & self._found_stopped
        }
        self._found_stopped = stopped
        for identity, process in self.processes.items():
            if now - process.started > _START_SECONDS and not process.leaving and not is_ready(identity):
                failing.setdefault(identity, ("not_ready", f"has not become ready in {_START_SECONDS:g} s"))
        return [(identity, *why) for identity, why in failing.items()]

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
                log.error(
                    "%s worker %d was killed, and hangs in the kernel", process.pool, process.pid, extra=process.fields
                )
        self.processes.clear()

    def reap(self, descriptor: int) -> tuple[WorkerProcess, str]:
        """Collects the exit status of the worker whose descriptor can be read. Gives it, and why it ended in words."""
        process = next(process for process in self.processes.values() if process.descriptor == descriptor)
        self._unwatch(descriptor)
        status = process.wait()
        del self.processes[process.identity]
        self._to_kill.pop(process, None)
        self._found_stopped.discard(process)
        reason = process.terminated_because or in_words(status)
        self.exits[process.pool, process.cause or _cause(process, status)] += 1
        level = logging.INFO if process.leaving and not process.terminated_because else logging.WARNING
        log.log(level, "%s worker %d is gone: it %s", process.pool, process.pid, reason, extra=process.fields)
        if not process.leaving:
            self._store_refused = self._store_refused or status == START_FAILED_STATUS
            self._crash_loops[process.pool].exited(process.started, time.monotonic())
        return process, reason

    def figures(self) -> dict[str, Any]:
        """The report's, of starts and ends."""
        return {
            "worker_starts": [{"pool": pool, "count": count} for pool, count in self.starts.items()],
            "worker_exits": [
                {"pool": pool, "cause": cause, "count": count} for (pool, cause), count in self.exits.items()
            ],
        }


def _log_stacks(process: WorkerProcess) -> None:
    """As one event: where many are ended at once, those of each are together."""
    if stacks := process.stacks():
        said = "%s worker %d stood here", (process.pool, process.pid)
        log.handle(
            log.makeRecord(log.name, logging.ERROR, __file__, 0, *said, None, extra=process.fields, sinfo=stacks)
        )


def _cause(process: WorkerProcess, status: int) -> Cause:
    """Of the end of a worker that was not terminated."""
    if process.leaving:
        return "retired"
    return "start_failed" if status == START_FAILED_STATUS else "crashed"
