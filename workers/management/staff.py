"""The workers of the daemon, as processes and as those who hold dispatches: who is started, told, retired and ended.

A worker that has given a credit is the broker's to retire and to terminate, since it may hold something. One that has
not yet is ended at once. While workers of different settings work side by side, as in the middle of a reload, a worker
counts as wedged by the most patient settings of all.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from protocol.worker_wire import LEVEL
from workers import log_lines

from .manager import Failure, WorkerManager
from .process import WorkerProcess
from .rolling_restart import RollingRestart

_MICROSECONDS: Final = 1_000_000


class Holders(Protocol):
    """What the broker knows of workers, by identity, and does with them."""

    def is_ready(self, identity: bytes) -> bool: ...

    def is_busy(self, identity: bytes) -> bool: ...

    def dispatch_of(self, identity: bytes) -> int: ...

    def state_of(self, identity: bytes) -> tuple[str, int] | None: ...

    def judge_by(self, execution_limit_seconds: float) -> None: ...

    def terminate(self, identity: bytes, cause: Failure, reason: str) -> None: ...

    def retire(self, identity: bytes) -> None: ...


class Staff:
    """manager: of the processes. holders: the broker. send: frames to a worker."""

    def __init__(
        self, manager: WorkerManager, holders: Holders, send: Callable[[bytes, Sequence[bytes]], object]
    ) -> None:
        self._manager = manager
        self._holders = holders
        self._send = send
        self._restart = RollingRestart(manager, holders.is_ready, self.retire)

    # ---- from time to time

    def tend(self, now: float) -> bool:
        """Starts one that is missing, ends who is due, and goes on with replacing. Returns whether more are due to be
        started. now: seconds, monotonic."""
        is_more_due = self._manager.tend(now, self._holders.is_ready)
        self._restart.go_on(now)
        self._retire_surplus()
        self._tell_level()
        if processes := self._manager.processes.values():
            self._holders.judge_by(max(process.settings.execution_limit_seconds for process in processes))
        return is_more_due

    def watch(self) -> None:
        """Has those ended that are stopped, or have not become ready."""
        for identity, cause, reason in self._manager.find_failing(time.monotonic(), self._holders.is_ready):
            if self._holders.is_ready(identity):
                self._holders.terminate(identity, cause, reason)  # which asks for the end of its process
            else:
                self._manager.terminate(identity, cause, reason, time.monotonic())

    def _tell_level(self) -> None:
        """Who does not log by the level of the daemon. Amid one dispatch a worker is told once: it may be busy with
        that for long, and reads nothing."""
        level = log_lines.level()
        for process in self._manager.processes.values():
            if process.level != level and self._holders.is_ready(process.identity):
                dispatch = self._holders.dispatch_of(process.identity)
                if not dispatch or dispatch != process.told_amid:
                    process.level, process.told_amid = level, dispatch
                    self._send(process.identity, [LEVEL, level.encode()])

    # ---- what is told of them

    def report(self) -> list[dict[str, Any]]:
        """What there is to tell of each."""
        return [self._report_of(process) for process in self._manager.processes.values()]

    def figures(self) -> dict[str, Any]:
        """Of their starts and ends."""
        return self._manager.figures()

    def _report_of(self, process: WorkerProcess) -> dict[str, Any]:
        if process.left is not None:
            state, since = "leaving", process.left
        elif (known := self._holders.state_of(process.identity)) is not None:
            state, since = known[0], known[1] / _MICROSECONDS
        else:
            state, since = "starting", process.started
        return {
            "pid": process.pid,
            "pool": process.pool,
            "memory_bytes": process.memory_bytes(),
            "state": state,
            "since_seconds": round(time.monotonic() - since, 3),
        }

    # ---- what an operator wants

    def wanted(self, pool: str) -> int:
        """How many workers it is to have."""
        return self._manager.counts[pool]

    def count(self, pool: str) -> int:
        """How many are ready; also who is to end, until it has."""
        processes = self._manager.processes.values()
        return sum(process.pool == pool and self._holders.is_ready(process.identity) for process in processes)

    def total(self) -> int:
        """How many all pools are to have."""
        return sum(self._manager.counts.values())

    def scale(self, pool: str, count: int) -> None:
        """The pool is to have so many workers, whatever becomes of each."""
        self._manager.scale(pool, count)
        self._retire_surplus()

    def equip(self, budget_seconds: float, grace_seconds: float, retention: int) -> None:
        """Those that are started from now on."""
        self._manager.template = replace(
            self._manager.template, budget_seconds=budget_seconds, grace_seconds=grace_seconds, retention=retention
        )

    def replace_all(self) -> int:
        """One after the other, without a failed item. Returns how many."""
        self._restart.begin()
        return len(self._manager.processes)

    # ---- the end of some, or of all

    def retire(self, process: WorkerProcess) -> None:
        """It ends when what it holds is done."""
        process.leave(time.monotonic())
        if self._holders.is_ready(process.identity):
            self._holders.retire(process.identity)
        else:
            process.kill()

    def _retire_surplus(self) -> None:
        for process in self._manager.surplus(self._restart.replacement):
            self.retire(process)

    def dismiss(self) -> None:
        """All are to end, now: what they hold has been answered."""
        for process in list(self._manager.processes.values()):
            is_busy = self._holders.is_busy(process.identity)
            self.retire(process)
            if is_busy:
                process.kill()
