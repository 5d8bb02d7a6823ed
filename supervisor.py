"""The daemon: moves the broker's core, and starts, watches, scales and ends the workers.

One loop, which never waits for longer than a sweep: it takes in what has come, tells the core of it as events, and
carries out the actions that the core asks for. What it promises of workers: one that exits has its items answered
within milliseconds, once all that it had sent is read; one that is stopped within a second; one that is wedged at the
execution limit, after its stacks are in the log. When the daemon ends, nothing of it is left.

    SIGTERM, SIGINT   drain: finish what is pending, within a limit; a second one ends at once
    SIGTTIN, SIGTTOU  one `write` worker more, one less
    SIGHUP            replace all workers, one after the other, without a failed item
    the others        no effect
"""

import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, assert_never

import zmq

from broker.actions import Action, InDoubt, Instruct, LostRequest, ReportWanted, Send, Terminate
from broker.collector import Collector
from broker.core import Core
from broker.daemon_settings import MOST_WORKERS, Settings
from broker.decoding import from_submitter, from_worker
from broker.entry import Body
from broker.events import ReplyUndelivered, WorkerEvent, WorkerLost, WorkerMalformed
from broker.in_doubt_log import InDoubtLog
from broker.scheduling import WRITE_POOL
from broker.settings import MICROSECONDS
from broker.sweep_timer import SweepTimer
from broker.transport.descriptors import make_room, reserve
from broker.transport.sockets import Frontend, Linked, Readable, Transport
from protocol import wire
from protocol.worker_wire import WorkerWireError
from workers.launch import WorkerSettings
from workers.management.housekeeping import Housekeeping
from workers.management.manager import WorkerManager
from workers.management.process import WorkerProcess
from workers.management.rolling_restart import RollingRestart
from workers.management.signals import Signals, is_from_kernel, signal_name

log = logging.getLogger("utxod")

# How often workers are looked at; one that is found stopped twice in a row is ended.
_WATCH_SECONDS: Final = 0.25
# How long workers may take to end by themselves, once told; and to be gone, once killed.
_STOP_SECONDS: Final = 2.0
_STOP_TURN_SECONDS: Final = 0.05


class StartError(Exception):
    """The daemon can't start; the message says why, and what to do."""


def clock_us() -> int:
    """The daemon's clock, which the core goes by: monotonic, microseconds. Elsewhere in this file times are seconds, by
    `time.monotonic`, the same clock."""
    return time.monotonic_ns() // 1000


class Supervisor:
    """The driver of the broker's core, and the parent of the workers. Whatever happens is one step of its loop."""

    def __init__(self, settings: Settings, version: str) -> None:
        """Binds the addresses. version: the daemon's, for people. Raises StartError."""
        _check(settings)
        self._settings = settings
        self._version = version
        self._started = time.monotonic()
        with ExitStack() as undo:  # what is made so far is undone where the rest fails, and all of it at the end
            self._signals = Signals()
            undo.callback(self._signals.close)
            self._in_doubt_log = InDoubtLog(Path(settings.state), settings.store)
            undo.callback(self._in_doubt_log.close)
            self._transport = _open_transport(settings)
            undo.callback(self._transport.close)
            self._undo = undo.pop_all()
        self._transport.watch(self._signals.descriptor)
        self._core = Core(settings.broker, secrets.randbits(63), clock_us(), version)
        self._manager = WorkerManager(
            WorkerSettings(
                pool="",
                link=-1,
                store=settings.store,
                parent=os.getpid(),
                budget_seconds=settings.broker.budget_seconds,
                grace_seconds=settings.broker.grace_seconds,
                retention=settings.block_height_retention,
            ),
            asdict(settings.workers),
            links=self._transport.workers,
            watch=self._transport.watch,
            unwatch=self._transport.unwatch,
        )
        self._restart = RollingRestart(self._manager, self._core.is_ready, self._retire)
        self._housekeeping = Housekeeping()
        self._is_serving = False
        self._drain_until: float | None = None
        # From now on: a start that takes long is no standstill.
        self._collector = Collector(time.monotonic())
        self._sweep_timer = SweepTimer(settings.broker.sweep_seconds, time.monotonic())
        self._next_watch = time.monotonic()

    def run(self) -> int:
        """Serves until it is told to end. Returns the exit status. Raises StartError."""
        with self._undo as undo:
            undo.callback(self._manager.end)
            while not self._is_done():
                self._turn(min(self._sweep_timer.next_sweep, self._next_watch))
                now = time.monotonic()
                if self._sweep_timer.is_due(now):
                    self._step(self._sweep, now)
                    self._step(self._tend)
                if now >= self._next_watch:
                    self._next_watch = now + _WATCH_SECONDS
                    if not self._sweep_timer.has_stood_still:
                        self._step(self._watch, now)
            self._step(self._core.end)
            self._stop_workers()
        log.info("ended")
        return 0

    def _turn(self, until: float) -> None:
        """Waits for something to come in, no longer than until then, and deals with it."""
        self._step(self._take_in, round(max(0.0, until - time.monotonic()) * 1000))

    def _step(self, happens: Callable[..., None], *args: Any) -> None:
        """Something happens, then all is done that the core asks for because of it; here, and nowhere else."""
        happens(*args)
        self._core.dispatch(clock_us())
        while actions := self._core.take_actions():
            for action in actions:
                self._carry_out(action)

    # ---- what comes in

    def _take_in(self, timeout_ms: int) -> None:
        """What has come, up to the transport's bounds; waits for it for so long."""
        for source in self._transport.poll(timeout_ms):
            match source:
                case Frontend():
                    for submitter, frames, received_us in self._transport.receive_from_submitters(source):
                        self._core.handle(from_submitter(submitter, frames), received_us)
                case Linked():
                    self._receive_from_worker(source.identity, self._transport.workers.receive(source.identity))
                case Readable():
                    self._on_readable(source.descriptor)
                case _:
                    assert_never(source)

    def _receive_from_worker(self, identity: bytes, messages: Iterator[list[Body]]) -> None:
        try:
            for frames in messages:
                self._on_worker(from_worker(identity, frames))
        except WorkerWireError as error:
            self._on_worker(WorkerMalformed(identity, str(error)))

    def _on_worker(self, event: WorkerEvent) -> None:
        if isinstance(event, WorkerMalformed):
            log.warning("worker %s sent what can't be read: %s", event.worker.hex(), event.reason)
        self._core.handle(event, clock_us())

    def _on_readable(self, descriptor: int) -> None:
        if descriptor == self._signals.descriptor:
            for info in self._signals.take():
                self._on_signal(info)
            return
        process, reason = self._manager.reap(descriptor)
        self._receive_from_worker(process.identity, self._transport.workers.receive_rest(process.identity))
        self._core.handle(WorkerLost(process.identity, reason), clock_us())
        self._sweep_timer.hasten(time.monotonic())  # its successor need not wait

    def _on_signal(self, info: signal.struct_siginfo) -> None:
        number, name = info.si_signo, signal_name(info.si_signo)
        if number in (signal.SIGTERM, signal.SIGINT):
            self._drain(name)
        elif number == signal.SIGHUP:
            log.info("replacing all workers")
            self._restart.begin()
        elif number in (signal.SIGTTIN, signal.SIGTTOU) and not is_from_kernel(info):
            # From the kernel it says that a process of the same job has used the terminal.
            for process in self._manager.scale(WRITE_POOL, 1 if number == signal.SIGTTIN else -1, MOST_WORKERS):
                self._retire(process)
        else:
            log.info("%s: means nothing here (from process %d)", name, info.si_pid)

    # ---- what the core asks for

    def _carry_out(self, action: Action) -> None:
        match action:
            case Send():
                self._send(action)
            case Instruct():
                if not self._transport.workers.send(action.worker, action.frames):
                    self._core.handle(WorkerLost(action.worker, "can't be reached"), clock_us())
            case Terminate():
                self._manager.terminate(action.worker, action.reason, time.monotonic())
            case InDoubt() | LostRequest():
                self._in_doubt_log.add(action)
            case ReportWanted():
                report = wire.pack_report(self._report())
                self._send(Send(action.submitter, [wire.pack_prefix(wire.REPORT, action.request_id), report], 0))
            case _:
                assert_never(action)

    def _send(self, action: Send) -> None:
        if not self._transport.send(action.submitter, action.frames):
            self._core.handle(ReplyUndelivered(action.item_count), clock_us())

    def _report(self) -> dict[str, Any]:
        broker = self._core.report()
        if self._transport.excess:
            broker["counters"]["excess frames"] = self._transport.excess
        return {
            "version": self._version,
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "longest_standstill_seconds": round(self._sweep_timer.longest_standstill, 3),
            "store": self._settings.store,
            "listen": self._transport.addresses,
            **broker,
            "processes": [
                {"pid": process.pid, "pool": process.pool, "memory_bytes": process.memory_bytes()}
                for process in self._manager.processes.values()
            ],
        }

    # ---- time

    def _sweep(self, now: float) -> None:
        # By the time that was looked at: it may have been stopped since.
        if self._core.sweep(round(now * MICROSECONDS)):
            self._sweep_timer.hasten(now)

    def _tend(self) -> None:
        self._judge_start()
        self._housekeeping.do(self._tend_workers)

    def _watch(self, now: float) -> None:
        self._housekeeping.do(self._watch_workers, self._transport.tend)
        self._collector.run_when_due(now, self._core.pending)

    def _judge_start(self) -> None:
        if self._is_serving:
            return
        if self._core.ready_workers:
            self._is_serving = True
            log.info("serving at %s, epoch %016x", ", ".join(self._transport.addresses), self._core.epoch)
        elif self._manager.could_not_start:
            raise StartError("the workers could not start; the lines above say why")

    # ---- workers

    def _tend_workers(self) -> None:
        now = time.monotonic()
        if self._manager.tend(now):
            self._sweep_timer.hasten(now)
        self._restart.go_on(now)

    def _watch_workers(self) -> None:
        for identity, reason in self._manager.find_failing(time.monotonic(), self._core.is_ready):
            self._terminate(identity, reason)

    def _terminate(self, identity: bytes, reason: str) -> None:
        if self._core.is_ready(identity):
            self._core.terminate(identity, reason)  # which asks for the end of its process
        else:
            self._manager.terminate(identity, reason, time.monotonic())

    def _retire(self, process: WorkerProcess) -> None:
        process.leaving = True
        if self._core.is_ready(process.identity):
            self._core.retire(process.identity)
        else:
            process.kill()

    # ---- the end

    def _drain(self, why: str) -> None:
        now = time.monotonic()
        if self._drain_until is not None:
            log.info("%s again: ending now", why)
            self._drain_until = now
            return
        pending, limit = self._core.pending, self._settings.drain_seconds
        log.info("%s: draining %d pending requests, within %g s", why, pending, limit)
        self._core.drain()
        self._drain_until = now + limit

    def _is_done(self) -> bool:
        if self._drain_until is None:
            return False
        return self._core.pending == 0 or time.monotonic() >= self._drain_until

    def _stop_workers(self) -> None:
        self._step(self._tell_workers_to_end)
        self._wait_for_workers()
        self._manager.kill()
        self._wait_for_workers()
        self._step(self._give_up_workers)

    def _tell_workers_to_end(self) -> None:
        for process in list(self._manager.processes.values()):
            is_busy = self._core.is_busy(process.identity)
            self._retire(process)
            if is_busy:
                process.kill()  # the time to drain is over: what it holds has been answered as unknown

    def _give_up_workers(self) -> None:
        """Those that hang in the kernel: what they hold is in doubt."""
        for identity in self._manager.processes:
            self._core.handle(WorkerLost(identity, "did not end"), clock_us())

    def _wait_for_workers(self) -> None:
        until = time.monotonic() + _STOP_SECONDS
        while self._manager.processes and time.monotonic() < until:
            self._turn(time.monotonic() + _STOP_TURN_SECONDS)


def _open_transport(settings: Settings) -> Transport:
    try:
        room = make_room(settings.workers.total)
        transport = Transport(
            settings.listen,
            max_body_bytes=settings.broker.max_body_bytes,
            reserve=reserve(settings.workers.total),
            clock_us=clock_us,
        )
    except (OSError, zmq.ZMQError) as error:
        raise StartError(str(error)) from error
    log.info(room)
    return transport


def _check(settings: Settings) -> None:
    if not settings.listen:
        raise StartError("listen: no address to serve at")
    for key in ("store", "state"):
        if not getattr(settings, key):
            raise StartError(f"{key}: not set, and there is no home directory to put it in: give one, --set {key}=...")


def serve(settings: Settings, version: str) -> int:
    """Runs the daemon until it is told to end; returns its exit status. Raises StartError."""
    return Supervisor(settings, version).run()
