"""The daemon: moves the broker's core, and starts, watches, scales and ends the workers.

One loop, which never waits for longer than a sweep: it takes in what has come, tells the core of it as events, and
carries out the actions that the core asks for. What it promises of workers: one that exits has its items answered
within milliseconds, once all that it had sent is read; one that is stopped within a second; one that is wedged at the
execution limit, after its stacks are in the log. When the daemon ends, nothing of it is left. What an operator may ask
of it while it runs: broker/orders.py.
"""

import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, assert_never

import zmq

from broker.actions import Action, InDoubt, Instruct, LostRequest, ReportWanted, Send, Terminate
from broker.collector import Collector
from broker.core import Core
from broker.daemon_settings import Settings
from broker.decoding import from_submitter, from_worker
from broker.entry import Body
from broker.events import ReplyUndelivered, WorkerEvent, WorkerLost, WorkerMalformed, WorkerReady
from broker.in_doubt_log import InDoubtLog
from broker.orders import Orders
from broker.receipts.channel import Channel
from broker.receipts.recording import Recording
from broker.report import Reporter
from broker.service_manager import ServiceManager
from broker.settings import MICROSECONDS
from broker.sweep_timer import SweepTimer
from broker.transport.descriptors import make_room, reserve
from broker.transport.figures_place import FiguresPlace
from broker.transport.sockets import Frontend, Linked, Readable, Transport, shared
from protocol import wire
from protocol.worker_wire import WorkerWireError
from workers.launch import WorkerSettings
from workers.log_lines import name_requests
from workers.management.companion import Companion, Companions
from workers.management.housekeeping import Housekeeping
from workers.management.manager import WorkerManager
from workers.management.process import WorkerProcess
from workers.management.signals import Signals
from workers.management.staff import Staff

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

    def __init__(self, settings: Settings, version: str, read_again: Callable[[], Settings] | None = None) -> None:
        """Binds the addresses. version: the daemon's, for people. read_again: as `serve` has it. Raises StartError."""
        _check(settings)
        state = Path(os.path.abspath(settings.state))  # as long as there is a working directory
        with ExitStack() as undo:  # what is made so far is undone where the rest fails, and all of it at the end
            self._service_manager = ServiceManager(os.environ)
            undo.callback(self._service_manager.close)
            self._signals = Signals()
            undo.callback(self._signals.close)
            self._in_doubt_log = InDoubtLog(state, settings.store)
            undo.callback(self._in_doubt_log.close)
            self._transport = _open_transport(settings)
            undo.callback(self._transport.close)
            self._figures_place = _open_figures_place(settings)
            undo.callback(self._figures_place.close)
            self._transport.watch(self._signals.descriptor)
            epoch = secrets.randbits(63)
            self._recording = Recording(epoch, settings.receipts_bytes > 0)
            self._recording.started(clock_us(), os.getpid(), version)
            self._core = Core(settings.broker, epoch, clock_us(), version, self._recording)
            self._manager = WorkerManager(
                _template(settings),
                asdict(settings.workers),
                links=self._transport.workers,
                watch=self._transport.watch,
                unwatch=self._transport.unwatch,
            )
            self._staff = Staff(self._manager, self._core, self._transport.workers.send)
            again = read_again or (lambda: settings)
            self._orders = Orders(settings, again, self._core, self._staff, self._transport, self._service_manager)
            undo.callback(self._orders.close)
            self._undo = undo.pop_all()
        self._receipts = Channel(epoch)
        recorder = Companion("recorder", *self._receipts.program(state, settings.receipts_bytes))
        self._companions = Companions([recorder] if settings.receipts_bytes else [])
        self._housekeeping = Housekeeping()
        self._is_serving = False
        # From now on: a start that takes long is no standstill.
        self._collector = Collector(time.monotonic())
        interval = self._service_manager.sweep_seconds(settings.broker.sweep_seconds)
        self._sweep_timer = SweepTimer(interval, time.monotonic())
        self._next_watch = time.monotonic()
        self._reporter = Reporter(
            version,
            state,
            self._core,
            self._transport,
            self._sweep_timer,
            self._staff,
            self._orders,
            self._figures_place,
            self._receipts,
        )

    def run(self) -> int:
        """Serves until it is told to end. Returns the exit status. Raises StartError."""
        with self._undo as undo:
            undo.callback(self._companions.end)
            undo.callback(self._receipts.close)  # which the recorder reads to the end
            undo.callback(self._manager.end)
            while not self._orders.drain.is_over(time.monotonic()):
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
        now = clock_us()
        self._core.dispatch(now)
        self._receipts.send(self._recording.take(now), now)
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
        if isinstance(event, WorkerReady) and self._manager.is_leaving(event.worker):
            return  # it was killed, and may still seem to be there
        self._core.handle(event, clock_us())

    def _on_readable(self, descriptor: int) -> None:
        if descriptor == self._signals.descriptor:
            for info in self._signals.take():
                self._orders.on_signal(info)
            return
        if self._orders.on_readable(descriptor):
            return
        process, reason = self._manager.reap(descriptor)
        self._receive_from_worker(process.identity, self._transport.workers.receive_rest(process.identity))
        self._tell_what_is_lost(process)
        self._core.handle(WorkerLost(process.identity, reason), clock_us())
        self._sweep_timer.hasten(time.monotonic())  # its successor need not wait

    def _tell_what_is_lost(self, process: WorkerProcess) -> None:
        if held := self._core.in_hand(process.identity):
            number, operation, items, request_ids = held
            requests, in_words = name_requests(request_ids)
            about = {"dispatch": number, "operation": operation, "items": items, "requests": requests}
            text = "%s worker %d held dispatch %d, %s of %d items: %s"
            what = (process.pool, process.pid, number, operation, items, in_words)
            log.warning(text, *what, extra=process.fields | about)

    # ---- what the core asks for

    def _carry_out(self, action: Action) -> None:
        match action:
            case Send():
                self._send(action)
            case Instruct():
                if not self._transport.workers.send(action.worker, action.frames):
                    self._core.handle(WorkerLost(action.worker, "can't be reached"), clock_us())
            case Terminate():
                self._manager.terminate(action.worker, action.cause, action.reason, time.monotonic())
            case InDoubt() | LostRequest():
                self._in_doubt_log.add(action)
            case ReportWanted():
                self._housekeeping.do(lambda: self._answer_report(action.askers))
            case _:
                assert_never(action)

    def _send(self, action: Send) -> None:
        if not self._transport.send(action.submitter, action.frames):
            self._core.handle(ReplyUndelivered(action.item_count), clock_us())

    def _answer_report(self, askers: Sequence[tuple[Hashable, bytes]]) -> None:
        report = shared(wire.pack_report(self._report()))
        for submitter, request_id in askers:
            self._send(Send(submitter, [wire.pack_prefix(wire.REPORT, request_id), report], 0))

    def _report(self) -> dict[str, Any]:
        return self._reporter.report(clock_us())

    # ---- time

    def _sweep(self, now: float) -> None:
        # By the time that was looked at: it may have been stopped since.
        if self._core.sweep(round(now * MICROSECONDS)):
            self._sweep_timer.hasten(now)
        self._service_manager.swept(now)

    def _tend(self) -> None:
        self._judge_start()
        self._housekeeping.do(self._tend_workers, self._tend_companions)

    def _tend_workers(self) -> None:
        now = time.monotonic()
        if self._staff.tend(now):
            self._sweep_timer.hasten(now)

    def _tend_companions(self) -> None:
        place = self._figures_place
        if place.open_when_due(time.monotonic()):
            told = json.dumps({"sockets": place.descriptors, "name": place.name, "listen": self._transport.addresses})
            self._companions.add(Companion("figures", "utxod.figures", (told,), place.descriptors))
        self._companions.tend()

    def _watch(self, now: float) -> None:
        self._housekeeping.do(self._staff.watch, self._transport.tend, self._orders.tend)
        self._collector.run_when_due(now, self._core.pending)

    def _judge_start(self) -> None:
        if self._is_serving:
            return
        if self._core.ready_workers:
            self._is_serving = True
            addresses = ", ".join(self._transport.addresses)
            log.info("serving at %s, epoch %016x", addresses, self._core.epoch)
            self._service_manager.ready(f"serving at {addresses}")
        elif self._manager.could_not_start:
            raise StartError("the workers could not start; the lines above say why")

    # ---- the end

    def _stop_workers(self) -> None:
        self._step(self._staff.dismiss)
        self._wait_for_workers()
        self._manager.kill()
        self._wait_for_workers()
        self._step(self._give_up_workers)

    def _give_up_workers(self) -> None:
        """Those that hang in the kernel: what they hold is in doubt."""
        for identity in self._manager.processes:
            self._core.handle(WorkerLost(identity, "did not end"), clock_us())

    def _wait_for_workers(self) -> None:
        until = time.monotonic() + _STOP_SECONDS
        while self._manager.processes and time.monotonic() < until:
            self._turn(time.monotonic() + _STOP_TURN_SECONDS)


def _template(settings: Settings) -> WorkerSettings:
    """What every worker is started with, but for its pool and its link."""
    return WorkerSettings(
        pool="",
        link=-1,
        store=settings.store,
        parent=os.getpid(),
        budget_seconds=settings.broker.budget_seconds,
        grace_seconds=settings.broker.grace_seconds,
        retention=settings.block_height_retention,
    )


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


def _open_figures_place(settings: Settings) -> FiguresPlace:
    try:
        return FiguresPlace(settings.metrics)
    except OSError as error:
        raise StartError(f"metrics: {error}") from error


def _check(settings: Settings) -> None:
    if not settings.listen:
        raise StartError("listen: no address to serve at")
    for key in ("store", "state"):
        if not getattr(settings, key):
            raise StartError(f"{key}: not set, and there is no home directory to put it in: give one, --set {key}=...")


def serve(settings: Settings, version: str, read_again: Callable[[], Settings]) -> int:
    """Runs the daemon until it is told to end; returns its exit status. read_again: gives the settings as they are now;
    raises SettingsFault. Raises StartError."""
    return Supervisor(settings, version, read_again).run()
