"""Simulated submitters: they ask now and then or flood, vanish and come back, and send some nonsense."""

from typing import Final

from broker.decoding import from_submitter
from broker.scheduling import POOL_OF_REQUEST
from protocol import codes, wire
from protocol.wire import RequestHeader
from tests.simulation.nonsense import malformed
from tests.simulation.tasks import NO, Task, Violation, parse_header
from tests.simulation.world_interface import WorldInterface

MS: Final = 1000
_OPERATIONS: Final = ("get", "outpoint", "get", "create", "spend", "spend", "set_locked", "increment")
_HARD: Final = frozenset({codes.STALE, codes.SHUTTING_DOWN})


class Submitter:
    """One connection after another: each has an identity of its own."""

    def __init__(self, world: WorldInterface, number: int) -> None:
        self.world = world
        self.number = number
        self.connection = 0
        self.present = True
        self.gap = world.rng.randint(10, 80) * MS
        self.floods = number == 0

    @property
    def identity(self) -> tuple[int, bytes]:
        return 0, b"s%d.%d" % (self.number, self.connection)

    def turn(self) -> bool:
        world, rng, weather = self.world, self.world.rng, self.world.weather
        if world.closing:
            return False
        world.after(rng.randint(1, 2 * self.gap), self.turn)
        if rng.random() < weather.vanish:
            self.present = not self.present
            self.connection += self.present
        if not self.present:
            return False
        requests = 1
        if rng.random() < weather.burst:
            requests = rng.randint(3, 15)
        if self.floods and rng.random() < weather.flood:
            requests = rng.randint(10, 40)
        arrives = world.now + world.latency()
        for _ in range(requests):
            self._ask(arrives)
        return False

    def _ask(self, arrives: int) -> None:
        world, rng = self.world, self.world.rng
        if rng.random() < world.weather.late:
            arrives += rng.randint(1, 1500) * MS
        if rng.random() < world.weather.malformed:
            world.at(arrives, self._deliver_malformed, self.identity, world.request_id())
            return
        items = 1 if rng.random() < 0.6 else rng.randint(2, 12)
        timeout = rng.randint(1, 60) if rng.random() < 0.2 else rng.randint(60, 600)
        if rng.random() < 0.02:
            timeout = 2_900
        self._send(rng.choice(_OPERATIONS), items, timeout, arrives)

    def ask_now(self, operation: str) -> Task:
        """One plain request, by a submitter that is there."""
        self.present = True
        return self._send(operation, 1, 900, self.world.now + self.world.latency())

    def _send(self, operation: str, items: int, timeout_ms: int, arrives: int) -> Task:
        world, rng = self.world, self.world.rng
        task = world.make(
            operation,
            POOL_OF_REQUEST[operation],
            deadline=world.now + timeout_ms * MS,
            weight=items,
            items=items,
            padding=rng.randint(0, 300) if rng.random() < 0.2 else 0,
        )
        task.submitter = self.identity
        task.request_id = world.request_id()
        if rng.random() < world.weather.poison:
            task.poison = rng.randrange(items)
        header = RequestHeader(world.epoch, operation, task.deadline, items, 0)
        frames = [
            wire.pack_prefix(wire.REQUEST, task.request_id),
            wire.pack_request_header(header),
            task.body,
        ]
        world.at(arrives, self._deliver, task, world.epoch, frames)
        return task

    def _deliver(self, task: Task, epoch: int, frames: list[bytes]) -> bool:
        world = self.world
        core = world.core
        must, may = self._verdict(task, epoch)
        core.handle(from_submitter(task.submitter, frames), world.now)
        if not core.actions:
            world.note("admitted", task)
            if must:
                raise Violation(f"{task} is admitted, and must be refused: {must}")
            world.checker.admitted(task)
            return True
        code = self._refused(task.submitter, task.request_id)
        world.note("refused", task, code)
        if code != must and (must in _HARD or code not in may):
            raise Violation(f"{task} is refused with {code}; must be {must}, may be {may}")
        task.answer = NO
        task.never = -1
        return True

    def _verdict(self, task: Task, epoch: int) -> tuple[str | None, frozenset[str]]:
        """The code that the request must be refused with, if any; and those that it may be refused with."""
        world = self.world
        if epoch != world.epoch or task.deadline <= world.now:
            return codes.STALE, frozenset()
        if world.core.draining:
            return codes.SHUTTING_DOWN, frozenset()
        pool = world.core.pools[task.pool]
        must = None
        if world.checker.is_deserted(task.pool):
            must = codes.UNAVAILABLE
        elif pool.queue:
            queue = pool.queue
            free = world.settings.queue_items - queue.weight
            no_room = queue.waiting_of(task.submitter) + task.weight > free
            if no_room or queue.bytes + len(task.body) > world.settings.queue_bytes:
                must = codes.OVERLOADED
        return must, frozenset({codes.UNAVAILABLE}) if pool.breaker.is_open else frozenset()

    def _refused(self, submitter: object, request_id: bytes) -> str:
        """Takes out the one answer to a request that was not admitted, and returns its code."""
        actions = self.world.core.take_actions()
        answer = actions[0]
        if len(actions) != 1 or answer.submitter != submitter or answer.frames[0][4:] != request_id:  # type: ignore[union-attr]
            raise Violation(f"a refusal that is not one answer: {actions}")
        parsed = parse_header(answer.frames[1])  # type: ignore[union-attr]
        if parsed[1] != NO:
            raise Violation(f"a refusal that does not say `no`: {parsed}")
        self.world.checker.tally.refused(parsed[0])
        return parsed[0]

    def _deliver_malformed(self, identity: tuple[int, bytes], request_id: bytes) -> bool:
        world = self.world
        core = world.core
        frames, code = malformed(request_id, world.epoch, world.now, world.rng)
        world.note("malformed", code)
        core.handle(from_submitter(identity, frames), world.now)
        if code is None:
            if core.actions:
                raise Violation(f"an answer to what can't be answered: {core.actions}")
            return True
        refusal = self._refused(identity, request_id)
        if refusal != code:
            raise Violation(f"a malformed request is refused with {refusal}, where it is {code}")
        return True
