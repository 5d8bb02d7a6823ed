"""Simulated daemons on one set: the real core each, and workers that run the real operations record by record.

The records of a batch are taken at a time of their own each, those of one key in their order, beside those of every
other worker of every daemon. A worker may die between any two; what is in flight then may land, late, or never. A
record may go unanswered, done or not; a batch may fail as a whole; an answer may be lost, or come twice; a worker may
stand still until it is ended; and a daemon may be killed, and what it owed is lost with it.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final, Protocol

from broker.actions import InDoubt, Instruct, LostRequest, Send, Terminate
from broker.core import Core
from broker.decoding import from_worker
from broker.events import WorkerLost, WorkerReady
from broker.scheduling import POOLS
from broker.settings import BrokerSettings
from protocol import wire
from protocol.worker_wire import DONE, DispatchMessage, pack_done, unpack_from_broker
from store import RecordOperation, Result, Status, StoreError
from tests.simulation.replay import Exchange, Finished, Job, Replayer
from tests.simulation.storm import Storm

MS: Final = 1000
_SETTINGS: Final = BrokerSettings(
    max_timeout_seconds=3.0, budget_seconds=0.3, grace_seconds=0.05, workerless_seconds=0.4, probe_seconds=0.1
)
_BATCH_LIMITS: Final = (1, 4, 16)


class HeldDispatch:
    """A dispatch in a worker's hands. asked: the records of its batch, and what has come of each."""

    def __init__(self, number: int, job: Job) -> None:
        self.number = number
        self.job = job
        self.history: list[Exchange] = []
        self.asked: list[RecordOperation] = []
        self.results: list[Result | None] = []


class Worker:
    def __init__(self, identity: bytes, pool: str) -> None:
        self.identity = identity
        self.pool = pool
        self.alive = True
        self.dispatch: HeldDispatch | None = None


class DaemonsWorld(Protocol):
    """What daemons use of the world that they are in: its fields are told in shared_set_world.py."""

    rng: Random
    now: int
    storm: Storm
    replayer: Replayer
    doubted: set[bytes]

    def after(self, delay: int, handler: Callable[..., None], *args: Any) -> None: ...

    def latency(self) -> int: ...

    def note(self, *what: Any) -> None: ...

    def take(self, operation: str, record: RecordOperation) -> Result:
        """A step of a record, now."""

    def land(self, operation: str, record: RecordOperation) -> None:
        """The same, after its worker's death."""

    def answered(self, daemon: int, epoch: int, frames: list[Any]) -> None:
        """A reply arrives at its caller."""


class Daemon:
    """core: of this incarnation. epoch: its number."""

    def __init__(self, world: DaemonsWorld, number: int) -> None:
        self.world = world
        self.number = number
        self.rng = world.rng
        self.epoch = 0
        self._limit = self.rng.choice(_BATCH_LIMITS)
        self._writers = self.rng.choice((1, 2, 3))
        self._started = 0
        self.start()

    def start(self) -> None:
        self.epoch += 1
        settings = BrokerSettings(**{**vars(_SETTINGS), "batch_limit": self._limit})
        self.core = Core(settings, self.epoch, self.world.now)
        self.workers: dict[bytes, Worker] = {}
        for pool in POOLS:
            for _ in range(self._writers if pool != "read" else 1):
                self._spawn(pool)

    def kill(self) -> None:
        """kill -9: nothing of it is answered any more, and its workers end with it."""
        self.world.note(f"daemon {self.number} is killed")
        for worker in self.workers.values():
            worker.alive = False
        self.start()

    def turn(self) -> None:
        """The end of a turn of its loop: work is handed out, and what the core wants done is done."""
        self.core.dispatch(self.world.now)
        while self.core.actions:
            for action in self.core.take_actions():
                self._act(action)

    def is_idle(self) -> bool:
        return not self.core.pending and all(worker.dispatch is None for worker in self.workers.values())

    def _act(self, action: Any) -> None:
        if isinstance(action, Send):
            self.world.after(self.world.latency(), self.world.answered, self.number, self.epoch, action.frames)
        elif isinstance(action, Instruct):
            worker = self.workers.get(action.worker)
            message = unpack_from_broker(action.frames)
            if worker is not None and isinstance(message, DispatchMessage):
                begins = self.world.latency() + self.world.storm.step()
                self.world.after(begins, self._begin, worker, message)
        elif isinstance(action, Terminate):
            worker = self.workers.get(action.worker)
            if worker is not None:
                self.world.after(MS, self._die, worker, action.reason)
        elif isinstance(action, InDoubt):
            self.world.doubted.add(action.key)
        elif isinstance(action, LostRequest):
            self.world.doubted |= {item[0] for item in wire.unpack_body(action.body, None)}

    # ---- workers

    def _spawn(self, pool: str) -> None:
        self._started += 1
        worker = Worker(b"%d.%d" % (self.number, self._started), pool)
        self.workers[worker.identity] = worker
        self.core.handle(WorkerReady(worker.identity, pool), self.world.now)

    def _die(self, worker: Worker, why: str) -> None:
        if not worker.alive:
            return
        self.world.note("dies", worker.identity, why)
        worker.alive = False
        del self.workers[worker.identity]
        self.world.after(self.rng.randint(1, 8 * MS), self._lost, worker, self.epoch, why)

    def _lost(self, worker: Worker, epoch: int, why: str) -> None:
        if epoch == self.epoch:
            self.core.handle(WorkerLost(worker.identity, why), self.world.now)
            self._spawn(worker.pool)

    def _begin(self, worker: Worker, message: DispatchMessage) -> None:
        if not worker.alive:
            return
        number, operation, parts, _, bodies = message
        token = (b"%s.%d" % (worker.identity, number)).rjust(16, b".")
        dispatch = HeldDispatch(number, Job(operation, tuple(parts), tuple(bodies), token, self.world.now))
        worker.dispatch = dispatch
        self.world.note("begins", worker.identity, operation, number)
        self._go_on(worker, dispatch)

    def _go_on(self, worker: Worker, dispatch: HeldDispatch) -> None:
        storm = self.world.storm
        asked = self.world.replayer.advance(dispatch.job, dispatch.history)
        if isinstance(asked, Finished):
            self._reply(worker, dispatch, asked)
        elif storm.strikes("hang"):
            self.world.note("hangs", worker.identity)
        elif storm.strikes("store_error"):
            in_doubt = self.rng.random() < 0.5
            if in_doubt:
                self._scatter(dispatch.job.operation, asked)
            dispatch.history.append((asked, StoreError("the store failed", in_doubt=in_doubt)))
            self._go_on(worker, dispatch)
        else:
            dispatch.asked, dispatch.results = asked, [None] * len(asked)
            for index, record in enumerate(asked):
                if all(earlier.key != record.key for earlier in asked[:index]):
                    self._schedule(worker, dispatch, index)

    def _schedule(self, worker: Worker, dispatch: HeldDispatch, index: int) -> None:
        self.world.after(self.world.storm.step(), self._step, worker, dispatch, dispatch.asked, index)

    def _step(self, worker: Worker, dispatch: HeldDispatch, asked: list[RecordOperation], index: int) -> None:
        """A record's turn has come."""
        world, record, operation = self.world, asked[index], dispatch.job.operation
        if worker.alive and world.storm.strikes("crash"):
            self._die(worker, "crashed")
        if not worker.alive:
            self._scatter(operation, [record])
            return
        if world.storm.strikes("doubt"):
            world.note("no answer", worker.identity)
            self._scatter(operation, [record])
            result = Result(Status.TIMEOUT, in_doubt=True, message="no answer", key=record.key)
        else:
            result = world.take(operation, record)
        dispatch.results[index] = result
        following = [n for n in range(index + 1, len(asked)) if asked[n].key == record.key]
        if following:
            self._schedule(worker, dispatch, following[0])
        elif None not in dispatch.results:
            dispatch.history.append((asked, [result for result in dispatch.results if result is not None]))
            self._go_on(worker, dispatch)

    def _scatter(self, operation: str, records: list[RecordOperation]) -> None:
        """Of what nobody waits for any more some lands, late."""
        for record in records:
            if self.rng.random() < 0.5:
                late = self.rng.randint(1, 200) * MS if self.rng.random() < 0.5 else 1
                self.world.after(late, self.world.land, operation, record)

    def _reply(self, worker: Worker, dispatch: HeldDispatch, finished: Finished) -> None:
        storm = self.world.storm
        worker.dispatch = None
        if storm.strikes("lost_reply"):
            self._die(worker, "crashed before it answered")
            return
        head = pack_done(dispatch.number, finished.follow_ups, finished.timed_out)
        frames = [head, *finished.replies]
        late = self.rng.randint(1, 100) * MS if storm.strikes("late_reply") else 0
        self.world.after(late + self.world.latency(), self._deliver, worker, self.epoch, frames)
        if storm.strikes("twice"):
            self.world.after(late + 50 * MS, self._deliver, worker, self.epoch, frames)

    def _deliver(self, worker: Worker, epoch: int, frames: list[bytes]) -> None:
        if epoch == self.epoch and worker.identity in self.workers:
            self.core.handle(from_worker(worker.identity, [DONE, *frames]), self.world.now)
