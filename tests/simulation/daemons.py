"""Simulated daemons on one set: the real core each, and workers that run the real operations record by record.

The records of a batch are taken at a time of their own each, those of one key in their order, beside those of every
other worker of every daemon. A worker may die between any two; what is in flight then may land, late, or never. A
record may go unanswered, done or not; a batch may fail as a whole; an answer may be lost, or come twice; a worker may
stand still until it is ended; and a daemon may be killed, and what it owed is lost with it.
"""

from typing import TYPE_CHECKING, Any, Final

from broker.actions import InDoubt, Instruct, LostRequest, Send, Terminate
from broker.core import Core
from broker.decoding import from_worker
from broker.events import WorkerLost, WorkerReady
from broker.scheduling import POOLS
from broker.settings import BrokerSettings
from protocol import wire
from protocol.worker_wire import DONE, DispatchMessage, pack_done, unpack_from_broker
from store import RecordOperation, Result, Status, StoreError
from tests.simulation.replay import Exchange, Finished, Job

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

MS: Final = 1000
_SETTINGS: Final = BrokerSettings(
    max_timeout_seconds=3.0, budget_seconds=0.3, grace_seconds=0.05, workerless_seconds=0.4, probe_seconds=0.1
)
_BATCH_LIMITS: Final = (1, 4, 16)


class Running:
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
        self.running: Running | None = None


class Daemon:
    """core: of this incarnation. epoch: its number."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.rng = cluster.rng
        self.epoch = 0
        self.kills = 0
        self._limit = self.rng.choice(_BATCH_LIMITS)
        self._writers = self.rng.choice((1, 2, 3))
        self._started = 0
        self.start()

    def start(self) -> None:
        self.epoch += 1
        settings = BrokerSettings(**{**vars(_SETTINGS), "batch_limit": self._limit})
        self.core = Core(settings, self.epoch, self.cluster.now)
        self.workers: dict[bytes, Worker] = {}
        for pool in POOLS:
            for _ in range(self._writers if pool != "read" else 1):
                self._spawn(pool)

    def kill(self) -> None:
        """kill -9: nothing of it is answered any more, and its workers end with it."""
        self.cluster.note(f"daemon {self.number} is killed")
        self.kills += 1
        for worker in self.workers.values():
            worker.alive = False
        self.start()

    def turn(self) -> None:
        """The end of a turn of its loop: work is handed out, and what the core wants done is done."""
        self.core.dispatch(self.cluster.now)
        while self.core.actions:
            for action in self.core.take_actions():
                self._act(action)

    def is_idle(self) -> bool:
        return not self.core.pending and all(worker.running is None for worker in self.workers.values())

    def _act(self, action: Any) -> None:
        if isinstance(action, Send):
            self.cluster.after(self.cluster.latency(), self.cluster.answered, self.number, self.epoch, action.frames)
        elif isinstance(action, Instruct):
            worker = self.workers.get(action.worker)
            message = unpack_from_broker(action.frames)
            if worker is not None and isinstance(message, DispatchMessage):
                begins = self.cluster.latency() + self.cluster.storm.step()
                self.cluster.after(begins, self._begin, worker, message)
        elif isinstance(action, Terminate):
            worker = self.workers.get(action.worker)
            if worker is not None:
                self.cluster.after(MS, self._die, worker, action.reason)
        elif isinstance(action, InDoubt):
            self.cluster.doubted.add(action.key)
        elif isinstance(action, LostRequest):
            self.cluster.doubted |= {item[0] for item in wire.unpack_body(action.body, None)}

    # ---- workers

    def _spawn(self, pool: str) -> None:
        self._started += 1
        worker = Worker(b"%d.%d" % (self.number, self._started), pool)
        self.workers[worker.identity] = worker
        self.core.handle(WorkerReady(worker.identity, pool), self.cluster.now)

    def _die(self, worker: Worker, why: str) -> None:
        if not worker.alive:
            return
        self.cluster.note("dies", worker.identity, why)
        worker.alive = False
        del self.workers[worker.identity]
        self.cluster.after(self.rng.randint(1, 8 * MS), self._lost, worker, self.epoch, why)

    def _lost(self, worker: Worker, epoch: int, why: str) -> None:
        if epoch == self.epoch:
            self.core.handle(WorkerLost(worker.identity, why), self.cluster.now)
            self._spawn(worker.pool)

    def _begin(self, worker: Worker, dispatch: DispatchMessage) -> None:
        if not worker.alive:
            return
        number, operation, parts, bodies = dispatch
        token = (b"%s.%d" % (worker.identity, number)).rjust(16, b".")
        running = Running(number, Job(operation, tuple(parts), tuple(bodies), token, self.cluster.now))
        worker.running = running
        self.cluster.note("begins", worker.identity, operation, number)
        self._go_on(worker, running)

    def _go_on(self, worker: Worker, running: Running) -> None:
        storm = self.cluster.storm
        asked = self.cluster.replayer.advance(running.job, running.history)
        if isinstance(asked, Finished):
            self._reply(worker, running, asked)
        elif storm.strikes("hang"):
            self.cluster.note("hangs", worker.identity)
        elif storm.strikes("store_error"):
            in_doubt = self.rng.random() < 0.5
            if in_doubt:
                self._scatter(running.job.operation, asked)
            running.history.append((asked, StoreError("the store failed", in_doubt=in_doubt)))
            self._go_on(worker, running)
        else:
            running.asked, running.results = asked, [None] * len(asked)
            for index, record in enumerate(asked):
                if all(earlier.key != record.key for earlier in asked[:index]):
                    self._schedule(worker, running, index)

    def _schedule(self, worker: Worker, running: Running, index: int) -> None:
        self.cluster.after(self.cluster.storm.step(), self._step, worker, running, running.asked, index)

    def _step(self, worker: Worker, running: Running, asked: list[RecordOperation], index: int) -> None:
        """A record's turn has come."""
        cluster, record, operation = self.cluster, asked[index], running.job.operation
        if worker.alive and cluster.storm.strikes("crash"):
            self._die(worker, "crashed")
        if not worker.alive:
            self._scatter(operation, [record])
            return
        if cluster.storm.strikes("doubt"):
            cluster.note("no answer", worker.identity)
            self._scatter(operation, [record])
            result = Result(Status.TIMEOUT, in_doubt=True, message="no answer", key=record.key)
        else:
            result = cluster.take(operation, record)
        running.results[index] = result
        following = [n for n in range(index + 1, len(asked)) if asked[n].key == record.key]
        if following:
            self._schedule(worker, running, following[0])
        elif None not in running.results:
            running.history.append((asked, [result for result in running.results if result is not None]))
            self._go_on(worker, running)

    def _scatter(self, operation: str, records: list[RecordOperation]) -> None:
        """Of what nobody waits for any more some lands, late."""
        for record in records:
            if self.rng.random() < 0.5:
                late = self.rng.randint(1, 200) * MS if self.rng.random() < 0.5 else 1
                self.cluster.after(late, self.cluster.land, operation, record)

    def _reply(self, worker: Worker, running: Running, finished: Finished) -> None:
        storm = self.cluster.storm
        worker.running = None
        if storm.strikes("lost_reply"):
            self._die(worker, "crashed before it answered")
            return
        head = pack_done(running.number, finished.follow_ups, finished.timed_out)
        frames = [head, *finished.replies]
        late = self.rng.randint(1, 100) * MS if storm.strikes("late_reply") else 0
        self.cluster.after(late + self.cluster.latency(), self._deliver, worker, self.epoch, frames)
        if storm.strikes("twice"):
            self.cluster.after(late + 50 * MS, self._deliver, worker, self.epoch, frames)

    def _deliver(self, worker: Worker, epoch: int, frames: list[bytes]) -> None:
        if epoch == self.epoch and worker.identity in self.workers:
            self.core.handle(from_worker(worker.identity, [DONE, *frames]), self.cluster.now)
