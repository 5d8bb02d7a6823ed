"""The daemon: runs the broker's transport, starts, watches, scales and ends the workers, rechecks deadlines.

One loop, which never waits for longer than a sweep. What it promises of workers: one that exits has its items answered
within milliseconds, once all that it had sent is read; one that is stopped within a second; one that is wedged at the
execution limit, after its stacks are in the log. When the daemon ends, nothing of it is left.

    SIGTERM, SIGINT   drain: finish what is pending, within a limit; a second one ends at once
    SIGTTIN, SIGTTOU  one `write` worker more, one less
    SIGHUP            replace all workers, one after the other, without a failed item
    the others        no effect
"""

import gc
import logging
import os
import secrets
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import zmq
from annotated_types import Interval

from broker.core import Core
from broker.in_doubt_log import InDoubtLog
from broker.scheduling import WRITE_POOL
from broker.settings import MICROSECONDS, BrokerSettings, Patience
from broker.transport.descriptors import make_room, reserve
from broker.transport.private_address import PrivateAddress
from broker.transport.sockets import Transport
from workers.launch import WorkerSettings
from workers.management.manager import WorkerManager
from workers.management.process import WorkerProcess
from workers.management.signals import Signals, is_from_kernel, signal_name

log = logging.getLogger("utxod")

# How often workers are looked at; one that is found stopped twice in a row is ended.
_WATCH_SECONDS: Final = 0.25
# How long a worker may take from its start to its first credit.
_START_SECONDS: Final = 30.0
# How long a dead worker's connection may take to be seen as gone; what it had sent is read until then.
_LAST_WORDS_SECONDS: Final = 0.05
# A sweep that is so late says that this process was stopped, or starved: nobody is judged by that time.
_STOOD_STILL_SECONDS: Final = 0.5
# A defect in the housekeeping is told of so often.
_DEFECT_SECONDS: Final = 10.0
# How long workers may take to end by themselves, once told; and to be gone, once killed.
_STOP_SECONDS: Final = 2.0
# The collector's pauses grow with what is pending (349 ms were measured over a million entries), and the broker makes
# no cycles of its own: so it runs by hand, and only while little is pending.
_COLLECT_SECONDS: Final = 30.0
COLLECT_BELOW: Final = 20_000


def _xdg(variable: str, fallback: str) -> str:
    """A directory of ours; empty where nobody knows a home, neither HOME nor the list of users."""
    home = os.path.expanduser("~")
    base = os.environ.get(variable) or (os.path.join(home, fallback) if os.path.isabs(home) else "")
    return base and os.path.join(base, "utxod")


def _default_store() -> str:
    directory = _xdg("XDG_DATA_HOME", ".local/share")
    return directory and f"lmdb://{directory}"


# Of an embedded set 1,024 processes can read at a time: three pools, and those who look.
_MOST_WORKERS: Final = 256
Workers = Annotated[int, Interval(ge=1, le=_MOST_WORKERS)]


@dataclass(frozen=True)
class WorkerCounts:
    read: Workers = field(default=1, metadata={"help": "workers that read (get, outpoint)"})
    write: Workers = field(default=1, metadata={"help": "workers that write (create, spend, set_locked)"})
    children: Workers = field(default=1, metadata={"help": "workers for child records and counters"})

    @property
    def total(self) -> int:
        return self.read + self.write + self.children


@dataclass(frozen=True)
class Settings:
    """Everything that can be set about the daemon."""

    store: str = field(
        default_factory=_default_store,
        metadata={"help": "where the UTXO set is: lmdb:///directory, aerospike://host/namespace, null: (to measure)"},
    )
    listen: tuple[str, ...] = field(default=(), metadata={"help": "addresses for submitters, ipc:// or tcp://"})
    listen_workers: str = field(default="", metadata={"help": "an address for workers; a private one if not set"})
    state: str = field(
        default_factory=lambda: _xdg("XDG_STATE_HOME", ".local/state"),
        metadata={"help": "directory for the list of what is in doubt, in-doubt.jsonl"},
    )
    workers: WorkerCounts = field(default_factory=WorkerCounts)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    # 190 years of blocks: a height with this added is still one, of 32 bits.
    block_height_retention: Annotated[int, Interval(ge=0, le=10_000_000)] = field(
        default=288, metadata={"help": "blocks after which a spent transaction may be deleted"}
    )
    drain_seconds: Patience = field(default=10.0, metadata={"help": "how long shutting down may take, in seconds"})


class StartError(Exception):
    """The daemon can't start; the message says why, and what to do."""


def clock() -> int:
    """The daemon's clock: monotonic, microseconds."""
    return time.monotonic_ns() // 1000


class Supervisor:
    def __init__(self, settings: Settings, version: str) -> None:
        """Binds the addresses. version: the daemon's, for people. Raises StartError."""
        if not settings.listen:
            raise StartError("listen: no address to serve at")
        for key in ("store", "state"):
            if not getattr(settings, key):
                raise StartError(
                    f"{key}: not set, and there is no home directory to put it in: give one, --set {key}=..."
                )
        self._settings = settings
        self._version = version
        self._started = time.monotonic()
        try:
            room = make_room(settings.workers.total)
            self._private = None if settings.listen_workers else PrivateAddress()
        except OSError as error:
            raise StartError(str(error)) from None
        backend = settings.listen_workers if self._private is None else self._private.address
        self._core = Core(settings.broker, secrets.randbits(63), clock(), version)
        self._doubts = InDoubtLog(Path(settings.state), settings.store)
        try:
            self._transport = Transport(
                self._core,
                settings.listen,
                backend,
                max_body_bytes=settings.broker.max_body_bytes,
                reserve=reserve(settings.workers.total),
                clock=clock,
                on_condemn=self._end_worker,
                on_in_doubt=self._doubts.add,
                on_report=self._report,
            )
        except (OSError, zmq.ZMQError) as error:
            if self._private is not None:
                self._private.release()
            raise StartError(str(error)) from error
        log.info(room)
        self._manager = WorkerManager(
            WorkerSettings(
                identity="",
                pool="",
                backend=backend,
                store=settings.store,
                parent=os.getpid(),
                budget_seconds=settings.broker.budget_seconds,
                retention=settings.block_height_retention,
            ),
            asdict(settings.workers),
            watch=self._transport.watch,
            unwatch=self._transport.unwatch,
            on_exit=self._worker_exited,
        )
        self._dying: deque[tuple[WorkerProcess, str, float]] = deque()
        self._to_replace: deque[bytes] = deque()
        self._replacement: bytes | None = None
        self._signals: deque[signal.struct_siginfo] = deque()
        self._served = False
        self._more_to_start = False
        self._longest_standstill = 0.0
        self._defect_told = -_DEFECT_SECONDS
        self._drain_until: float | None = None

    def run(self) -> int:
        """Serves until it is told to end. Returns the exit status. Raises StartError."""
        sweep = self._settings.broker.sweep_seconds
        stood_still = False
        signals = Signals()
        self._transport.watch(signals.descriptor, lambda: self._signals.extend(signals.take()))
        try:
            gc.collect()
            gc.freeze()
            gc.disable()
            next_sweep = next_watch = next_collection = time.monotonic()
            while not self._is_done():
                self._transport.turn(1 if self._dying else max(0, round((next_sweep - time.monotonic()) * 1000)))
                self._bury()
                self._handle_signals()
                now = time.monotonic()
                if now >= next_sweep:
                    late, next_sweep = now - next_sweep, now + sweep
                    self._longest_standstill = max(late, self._longest_standstill)
                    stood_still = late > _STOOD_STILL_SECONDS and not stood_still
                    if stood_still:
                        log.warning("stood still for %.1f s: what has come in meanwhile is read first", late)
                        continue
                    # By the time that was looked at: it may have been stopped since.
                    more_to_sweep = self._core.sweep(round(now * MICROSECONDS))
                    self._transport.flush()
                    self._judge_start()
                    self._keep_house(self._tend)
                    if more_to_sweep or self._more_to_start:
                        next_sweep = now
                if now >= next_watch:
                    next_watch = now + _WATCH_SECONDS
                    self._keep_house(self._watch_workers)
                    self._keep_house(lambda _: self._transport.tend())
                if now >= next_collection and len(self._core.ledger) < COLLECT_BELOW:
                    next_collection = now + _COLLECT_SECONDS
                    gc.collect()
            self._core.end()
            self._transport.flush()
            self._stop_workers()
        finally:
            with ExitStack() as rest:  # each, whatever becomes of the others; the last one first
                if self._private is not None:
                    rest.callback(self._private.release)
                for end in (signals.close, self._doubts.close, self._transport.close, self._manager.end):
                    rest.callback(end)
        log.info("ended")
        return 0

    # ---- workers

    def _keep_house(self, work: Callable[[float], None]) -> None:
        """What goes wrong here is tried again, and told of now and then: no answer depends on it, so the loop's must
        not."""
        now = time.monotonic()
        try:
            work(now)
        except Exception:
            if now - self._defect_told >= _DEFECT_SECONDS:
                self._defect_told = now
                log.exception("a defect in the housekeeping; the daemon serves on")

    def _judge_start(self) -> None:
        if self._served:
            return
        if self._core.workers:
            self._served = True
            log.info("serving at %s, epoch %016x", ", ".join(self._transport.addresses), self._core.epoch)
        elif self._manager.could_not_start:
            raise StartError("the workers could not start; the lines above say why")

    def _tend(self, now: float) -> None:
        self._more_to_start = False
        self._more_to_start = self._manager.tend(now)
        self._replace_next(now)

    def _watch_workers(self, now: float) -> None:
        """Ends those that are stopped, and those that have not become ready in their time; forgets those whose greeting
        was read after their end."""
        for identity in self._manager.newly_stopped():
            self._condemn(identity, "is stopped")
        for identity, process in list(self._manager.processes.items()):
            late = now - process.started > _START_SECONDS
            if late and identity not in self._core.workers and not process.leaving:
                self._condemn(identity, f"has not become ready in {_START_SECONDS:g} s")
        if not self._settings.listen_workers:
            dying = {process.identity for process, _, _ in self._dying}
            for identity in self._core.workers.keys() - self._manager.processes.keys() - dying:
                self._core.on_lost(identity, "greeted with its last breath", clock())

    def _condemn(self, identity: bytes, reason: str) -> None:
        if identity in self._core.workers:
            self._core.condemn(identity, reason)
            self._transport.flush()
        else:
            self._manager.terminate(identity, reason, time.monotonic())

    def _worker_exited(self, process: WorkerProcess, reason: str) -> None:
        self._core.retire(process.identity)  # what it were handed now would be lost
        self._dying.append((process, reason, time.monotonic() + _LAST_WORDS_SECONDS))

    def _end_worker(self, identity: bytes, reason: str) -> None:
        """Ends a worker that the core has condemned. One that is no process of this daemon's (it runs elsewhere, or
        greeted with its last breath) has no end that would be noticed: it is lost now."""
        if identity in self._manager.processes:
            self._manager.terminate(identity, reason, time.monotonic())
        elif all(process.identity != identity for process, _, _ in self._dying):
            log.error("worker %s %s; it is no process of this daemon's, and gets no more work", identity.hex(), reason)
            self._core.on_lost(identity, reason, clock())

    def _bury(self) -> None:
        """Answers for the dead, once what they had sent is read: until then the connection stands."""
        for _ in range(len(self._dying)):
            process, reason, until = self._dying.popleft()
            if self._transport.can_reach(process.identity) and time.monotonic() < until:
                self._dying.append((process, reason, until))
                continue
            self._transport.read_workers()
            self._core.on_lost(process.identity, reason, clock())
            self._transport.flush()
            self._judge_start()
            self._keep_house(self._tend)

    def _scale(self, pool: str, by: int) -> None:
        self._manager.counts[pool] = min(_MOST_WORKERS, max(1, self._manager.counts[pool] + by))
        log.info("%s workers: %d", pool, self._manager.counts[pool])
        for process in self._manager.members(pool)[self._manager.counts[pool] :]:
            self._retire(process)
        self._transport.flush()

    def _retire(self, process: WorkerProcess) -> None:
        process.leaving = True
        if process.identity in self._core.workers:
            self._core.retire(process.identity)
        else:
            process.kill()

    def _replace_next(self, now: float) -> None:
        """One step of a rolling restart: a new worker first, then the old one's end."""
        processes = self._manager.processes
        new = self._replacement
        if new is not None:
            if new in processes and new not in self._core.workers:
                return
            self._replacement = None
            old = processes.get(self._to_replace.popleft())
            if old is not None and new in self._core.workers:
                self._retire(old)
                self._transport.flush()
            elif old is not None:
                log.error("%s worker %d could not be replaced: it stays", old.pool, old.pid)
        while self._to_replace:
            old = processes.get(self._to_replace[0])
            if old is not None and not old.leaving:
                try:
                    self._replacement = self._manager.start(old.pool, now).identity
                    return
                except OSError as error:
                    log.error("%s worker %d could not be replaced: %s; it stays", old.pool, old.pid, error)
            self._to_replace.popleft()

    def _stop_workers(self) -> None:
        for process in list(self._manager.processes.values()):
            worker = self._core.workers.get(process.identity)
            self._retire(process)
            if worker is not None and worker.dispatch is not None:
                process.kill()  # the time to drain is over: what it holds has been answered as unknown
        self._transport.flush()
        until = time.monotonic() + _STOP_SECONDS
        while self._manager.processes and time.monotonic() < until:
            self._transport.turn(50)
        self._manager.kill()
        until = time.monotonic() + _STOP_SECONDS
        while self._manager.processes and time.monotonic() < until:
            self._transport.turn(50)
        self._transport.read_workers()
        for process, reason, _ in self._dying:
            self._core.on_lost(process.identity, reason, clock())
        self._transport.flush()

    # ---- signals

    def _handle_signals(self) -> None:
        while self._signals:
            info = self._signals.popleft()
            number, name = info.si_signo, signal_name(info.si_signo)
            if number in (signal.SIGTERM, signal.SIGINT):
                self._drain(name)
            elif number == signal.SIGHUP:
                log.info("replacing all workers")
                self._to_replace.extend(self._manager.processes.keys() - set(self._to_replace))
            elif number in (signal.SIGTTIN, signal.SIGTTOU) and not is_from_kernel(info):
                # From the kernel it says that a process of the same job has used the terminal.
                self._scale(WRITE_POOL, 1 if number == signal.SIGTTIN else -1)
            else:
                log.info("%s: means nothing here (from process %d)", name, info.si_pid)

    # ---- the end

    def _drain(self, why: str) -> None:
        now = time.monotonic()
        if self._core.draining:
            log.info("%s again: ending now", why)
            self._drain_until = now
            return
        log.info(
            "%s: draining %d pending requests, within %g s", why, len(self._core.ledger), self._settings.drain_seconds
        )
        self._core.draining = True
        self._drain_until = now + self._settings.drain_seconds

    def _is_done(self) -> bool:
        if self._drain_until is None:
            return False
        return len(self._core.ledger) == 0 or time.monotonic() >= self._drain_until

    # ---- what the broker asks for

    def _report(self) -> dict[str, Any]:
        return {
            "version": self._version,
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "longest_standstill_seconds": round(self._longest_standstill, 3),
            "store": self._settings.store,
            "listen": self._transport.addresses,
            **self._core.report(),
            "processes": [
                {"pid": one.pid, "pool": one.pool, "memory_bytes": one.memory_bytes()}
                for one in self._manager.processes.values()
            ],
        }


def serve(settings: Settings, version: str) -> int:
    """Runs the daemon until it is told to end; returns its exit status. Raises StartError."""
    return Supervisor(settings, version).run()
