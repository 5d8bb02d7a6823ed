"""Simulated workers, and the supervisor that starts, retires and ends them.

A worker does what a real one does: it drops what has expired when it begins, executes the rest at one moment of its
service time (the ground truth), and replies once. What else it may do is its fate, by the weather.
"""

from functools import lru_cache
from typing import Final

from broker.decoding import from_worker
from broker.events import WorkerLost, WorkerReady
from broker.scheduling import CHILDREN_POOL, POOLS
from protocol import codes, wire
from protocol.wire import Error, ReplyHeader
from protocol.worker_wire import DONE, DispatchMessage, FollowUp, pack_done, unpack_from_broker
from tests.simulation.nonsense import garble
from tests.simulation.tasks import NO, UNKNOWN, HeldDispatch, Message, Task
from tests.simulation.world_interface import WorldInterface

MS: Final = 1000
_EXPIRED: Final = wire.error_header(Error(codes.DEADLINE_EXCEEDED, NO, "expired before execution"))
_STORE_FAILED: Final = {
    executed: wire.error_header(Error(codes.STORE_ERROR, executed, "the store failed")) for executed in (NO, UNKNOWN)
}
_FATES: Final = ("crash", "hang", "slow", "twice", "nonsense", "stop", "store_error")


class SimulatedWorker:
    """arrives: when the last that it has sent will have been delivered. frozen: stopped by a signal."""

    __slots__ = ("alive", "arrives", "busy", "epoch", "frozen", "identity", "leaving", "pool")

    def __init__(self, identity: bytes, pool: str, epoch: int) -> None:
        self.identity = identity
        self.pool = pool
        self.epoch = epoch
        self.alive = True
        self.busy: HeldDispatch | None = None
        self.frozen = False
        self.leaving = False
        self.arrives = 0


class SimulatedManager:
    def __init__(self, world: WorldInterface) -> None:
        self.world = world
        self.rng = world.rng
        self.workers: dict[bytes, SimulatedWorker] = {}
        self.targets = {name: self.rng.choice((1, 1, 2, 3)) for name in POOLS}
        self.wedged_until = dict.fromkeys(POOLS, 0)
        self._started = 0
        self._dying: set[bytes] = set()

    # ---- the supervisor

    def tend(self) -> bool:
        for pool, target in self.targets.items():
            members = sum(worker.pool == pool and not worker.leaving for worker in self.workers.values())
            for _ in range(target - members):
                self.start(pool)
        return False

    def start(self, pool: str) -> None:
        self._started += 1
        worker = SimulatedWorker(b"w%d" % self._started, pool, self.world.epoch)
        self.workers[worker.identity] = worker
        boot = 600 if self.rng.random() < 0.05 * self.world.windy else self.rng.randint(1, 30)
        self.world.after(boot * MS, self._ready, worker)

    def _ready(self, worker: SimulatedWorker) -> bool:
        if worker.epoch != self.world.epoch or (not worker.alive and self.rng.random() > 0.2 * self.world.windy):
            # Where it is dead already, its READY is mostly read before its end is noticed, or not at all.
            return False
        self.world.note("ready", worker.identity, worker.pool)
        self.world.checker.ready(worker.identity, worker.pool)
        self.world.core.handle(WorkerReady(worker.identity, worker.pool), self.world.now)
        return True

    def die(self, worker: SimulatedWorker, why: str) -> bool:
        """It is gone; its end is noticed when all that it had sent has arrived, mostly."""
        if not worker.alive:
            return False
        self.world.note("dies", worker.identity, why)
        worker.alive = False
        del self.workers[worker.identity]
        self._dying.add(worker.identity)
        noticed = self.world.now + self.rng.randint(1, 8 * MS)
        if self.rng.random() > 0.1 * self.world.windy:
            noticed = max(noticed, worker.arrives + 1)
        self.world.at(noticed, self._lost, worker, why)
        self.world.after(self.rng.randint(5, 60) * MS, self.tend)
        return False

    def _lost(self, worker: SimulatedWorker, why: str) -> bool:
        self._dying.discard(worker.identity)
        return self._gone(worker.identity, worker.epoch, why)

    def _gone(self, identity: bytes, epoch: int, why: str = "is none of ours") -> bool:
        if epoch != self.world.epoch:
            return False
        self.world.note("lost", identity)
        self.world.checker.lost(identity)
        self.world.core.handle(WorkerLost(identity, why), self.world.now)
        return True

    def retire(self, worker: SimulatedWorker) -> bool:
        if not worker.alive or worker.epoch != self.world.epoch:
            return False
        worker.leaving = True
        if worker.identity not in self.world.checker.pools:
            return self.die(worker, "was not needed")
        self.world.note("retire", worker.identity)
        self.world.checker.retire(worker.identity)
        self.world.core.retire(worker.identity)
        return True

    def upheaval(self) -> None:
        """Scaling up or down, or one worker replaced by a new one, without a failed item."""
        pool = self.rng.choice(list(POOLS))
        members = [worker for worker in self.workers.values() if worker.pool == pool and not worker.leaving]
        if self.rng.random() < 0.5:
            self.targets[pool] = self.rng.randint(1, 4)
            for worker in members[self.targets[pool] :]:
                self.world.after(1, self.retire, worker)
            self.tend()
        elif members:
            self.start(pool)
            self.world.after(self.rng.randint(1, 40) * MS, self.retire, members[0])

    def restart(self) -> None:
        """The daemon was killed: its workers end with it, and new ones are started."""
        for worker in self.workers.values():
            worker.alive = False
        self.workers.clear()
        self.tend()

    def watch(self) -> bool:
        """Finds those whose end nobody will notice, because their READY came after it."""
        self.world.after(250 * MS, self.watch)
        for identity in sorted(self.world.checker.pools.keys() - self.workers.keys() - self._dying):
            self.world.after(1, self._gone, identity, self.world.epoch)
        return False

    # ---- what the core asks for

    def instructed(self, identity: bytes, frames: list[bytes]) -> None:
        world = self.world
        worker = self.workers.get(identity)
        message = unpack_from_broker(frames)
        if not isinstance(message, DispatchMessage):
            world.note("stop", identity)
            world.checker.told_to_stop(identity)
            if worker is not None:
                world.after(world.latency(), self._stop, worker)
            return
        number, operation, parts, _, bodies = message
        tasks = [world.tasks[body] for body in bodies]
        dispatch = HeldDispatch(
            number, operation, [(task, part.only) for task, part in zip(tasks, parts, strict=True)], world.now
        )
        world.note("dispatch", identity, number, dispatch.tasks)
        world.checker.handed(identity, dispatch, [part.deadline for part in parts])
        if worker is not None:
            world.after(world.latency(), self._begin, worker, dispatch)

    def terminated(self, identity: bytes, reason: str) -> None:
        self.world.note("terminated", identity, reason)
        self.world.checker.told_to_terminate(identity)
        worker = self.workers.get(identity)
        if worker is None:
            # One that was ready when it was dead, or dying: there is nobody to end.
            self.world.after(1, self._gone, identity, self.world.epoch)
            return
        worker.leaving = True
        self.world.after(self.rng.randint(1, 50) * MS, self.die, worker, "was terminated")
        self.tend()

    # ---- a worker's life

    def _stop(self, worker: SimulatedWorker) -> bool:
        worker.leaving = True
        return self.die(worker, "exited with status 0") if worker.busy is None and not worker.frozen else False

    def _begin(self, worker: SimulatedWorker, dispatch: HeldDispatch) -> bool:
        if not worker.alive or worker.frozen:
            return False
        world, rng, now = self.world, self.rng, self.world.now
        worker.busy = dispatch
        dispatch.live = [(task, only) for task, only in dispatch.tasks if task.owed or task.deadline > now]
        fate = self._fate(dispatch)
        service = int(rng.random() * rng.random() * 12 * MS) + 50
        if fate == "slow":
            service *= rng.randint(5, 100)
        elif fate == "stop":
            worker.frozen = True
            world.after(rng.randint(10, 500) * MS, self._noticed, worker)
        elif fate == "crash":
            fate = rng.choice(("crash", "crash unsaid", "crash said"))
            if fate == "crash":
                world.after(rng.randint(0, service), self.die, worker, "crashed")
        world.after(service, self._commit, worker, dispatch, fate)
        return False

    def _fate(self, dispatch: HeldDispatch) -> str:
        weather = self.world.weather
        for task, only in dispatch.live:
            if task.poison >= 0 and only in (None, task.poison):
                return "crash"
        roll = self.rng.random()
        for name in _FATES:
            roll -= getattr(weather, name)
            if roll < 0:
                return name
        return ""

    def _noticed(self, worker: SimulatedWorker) -> bool:
        if not worker.alive or worker.epoch != self.world.epoch:
            return False
        self.world.note("is stopped", worker.identity)
        self.world.checker.terminate(worker.identity)
        self.world.core.terminate(worker.identity, "stopped", "is stopped")
        return True

    def _commit(self, worker: SimulatedWorker, dispatch: HeldDispatch, fate: str) -> bool:
        world, rng = self.world, self.rng
        if not worker.alive:
            if not POOLS[worker.pool].repeatable and fate != "store_error" and rng.random() < 0.5:
                self._execute(dispatch)
            return False
        if worker.frozen:
            return False
        if fate == "hang" and rng.random() < 0.5:
            world.after(rng.randint(200, 900) * MS, self._commit, worker, dispatch, fate)
            return False
        if self.wedged_until[worker.pool] > world.now:
            world.at(self.wedged_until[worker.pool] + rng.randint(1, 5 * MS), self._commit, worker, dispatch, fate)
            return False
        if fate == "store_error":
            message = self._store_error(dispatch)
        else:
            message = self._execute(dispatch)
            if fate == "nonsense":
                message = garble(message, dispatch, worker.pool, rng)
        worker.busy = None
        if fate in ("hang", "crash unsaid"):
            return self.die(worker, "crashed") if fate != "hang" else False
        self._send(worker, message, twice=fate == "twice")
        if fate == "crash said" or worker.leaving:
            self.die(worker, "crashed" if fate else "exited with status 0")
        return False

    def _store_error(self, dispatch: HeldDispatch) -> Message:
        executed = self.rng.choice((NO, UNKNOWN))
        if executed == UNKNOWN and self.rng.random() < 0.5:
            self._execute(dispatch)
        replies: list[tuple[bytes, bytes, list[Task]]] = [
            (_STORE_FAILED[executed], wire.EMPTY_BODY, []) for _ in dispatch.tasks
        ]
        return _message(dispatch, replies, [], [], timed_out=self.rng.random() < 0.3)

    def _send(self, worker: SimulatedWorker, message: Message, twice: bool) -> None:
        world = self.world
        worker.arrives = max(world.now + world.latency(), worker.arrives + 1)
        world.at(worker.arrives, self._deliver, worker.identity, message)
        if twice:
            world.after(self.rng.randint(1, 100) * MS, self._deliver, worker.identity, message)

    def _deliver(self, identity: bytes, message: Message) -> bool:
        world = self.world
        world.note("done", identity, message.number, "" if message.sound else "nonsense")
        world.checker.done(identity, message)
        world.core.handle(from_worker(identity, [DONE, *message.frames]), world.now)
        return True

    # ---- execution

    def _execute(self, dispatch: HeldDispatch) -> Message:
        world, rng = self.world, self.rng
        replies: list[tuple[bytes, bytes, list[Task]]] = []
        owed: list[Task] = []
        follow_ups: list[FollowUp] = []
        live = set(dispatch.live)
        for index, (task, only) in enumerate(dispatch.tasks):
            if (task, only) not in live:
                replies.append((_EXPIRED, wire.EMPTY_BODY, []))
                continue
            count = task.items if only is None else 1
            errors = {i: _REJECTED for i in range(count) if rng.random() < world.weather.reject}
            mask = ((1 << count) - 1 & ~sum(1 << i for i in errors)) << (only or 0)
            world.checker.executes(task, mask, dispatch.number)
            parts: list[Task] = []
            if task.operation in ("set_locked", "spend"):
                for item in range(count):
                    if item not in errors and rng.random() < 0.4:
                        self._follow_up(task, index, item, parts, owed, follow_ups)
            body = task.expected if only is None else wire.pack_body([task.number * 64 + only])
            header = wire.pack_reply_header(ReplyHeader(None, count, errors)) if errors else _ok(count)
            replies.append((header, body, parts))
        return _message(dispatch, replies, owed, follow_ups)

    def _follow_up(
        self, task: Task, index: int, item: int, parts: list[Task], owed: list[Task], follow_ups: list[FollowUp]
    ) -> None:
        rng = self.rng
        joined = task.operation == "set_locked"
        operation = "lock_children" if joined else rng.choice(("note_child", "set_dah_children"))
        follow_up = self.world.make(
            operation,
            CHILDREN_POOL,
            deadline=task.deadline if joined else 0,
            weight=rng.randint(1, 6),
            items=1,
            key=rng.choice(_KEYS),
            parent=task if joined else None,
            item=item,
        )
        (parts if joined else owed).append(follow_up)
        request = index if joined else None
        follow_ups.append(
            FollowUp(request, item if joined else 0, operation, follow_up.key or b"", follow_up.weight, follow_up.body)
        )


_KEYS: Final = tuple(b"master %d" % number for number in range(5))
_REJECTED: Final = Error(codes.SPENT, NO, "spent already")


def _message(
    dispatch: HeldDispatch,
    replies: list[tuple[bytes, bytes, list[Task]]],
    owed: list[Task],
    follow_ups: list[FollowUp],
    timed_out: bool = False,
) -> Message:
    frames = [pack_done(dispatch.number, follow_ups, timed_out)]
    for header, body, _ in replies:
        frames += header, body
    return Message(dispatch.number, frames, replies, owed, timed_out=timed_out)


@lru_cache
def _ok(count: int) -> bytes:
    return wire.ok_header(count)
