"""One simulated run: clock, network, store and everybody around the real core, driven by one seed.

Events wait in one heap by time. After each that was passed to the core, what the core wants done is carried out and
the invariants are checked; that is one step. The run ends with every fault cleared and the daemon ended; nothing may
be left.
"""

import heapq
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Final

from broker.actions import InDoubt, Instruct, LostRequest, Send, Terminate
from broker.core import Core
from broker.events import ReplyUndelivered
from broker.settings import BrokerSettings
from tests.simulation.audit import audit, audit_end
from tests.simulation.invariants import InvariantChecker
from tests.simulation.submitters import Submitter
from tests.simulation.tasks import OK, Task, Violation
from tests.simulation.weather import forecast, small_settings
from tests.simulation.workers import SimulatedManager

MS: Final = 1000
SECOND: Final = 1000 * MS
_SWEEP: Final = 50 * MS
# So few that what is due often takes several.
_SLICE: Final = 3
_TICK: Final = 100 * MS
_AUDIT_EVERY: Final = 16
# After the storm: deadlines, wedged workers and what is owed need no longer than this.
_SETTLED_WITHIN: Final = 20 * SECOND

CoreFactory = Callable[[BrokerSettings, int, int], Core]


class World:
    """make_core: a planted bug may stand in for the core. trace: called with each event, None for silence.

    steps: events passed to the core so far. windy: 1, and 0 once every fault is over. tasks: everything that was asked
    or followed, by its body. closing: nobody asks any more.
    """

    def __init__(self, seed: int, make_core: CoreFactory = Core, trace: Callable[[str], None] | None = None) -> None:
        self.rng = Random(seed)
        self.steps = 0
        self.now = 1
        self.epoch = 1
        self.closing = False
        self.tasks: dict[Any, Task] = {}
        self.settings: BrokerSettings = small_settings(self.rng)
        self.weather = forecast(self.rng)
        self.windy = 1
        self._make_core = make_core
        self._trace = trace
        self._heap: list[tuple[int, int, Callable[..., bool], tuple[Any, ...]]] = []
        self._sequence = count()
        self._tasks_made = count(1)
        self._requests = count(1)
        self._ended = False
        self.core = make_core(self.settings, self.epoch, self.now)
        self.core._slice = _SLICE
        self.checker = InvariantChecker(self.core, self.settings, self.now)
        self.manager = SimulatedManager(self)
        self.submitters = [Submitter(self, number) for number in range(self.rng.randint(2, 5))]

    def run(self) -> int:
        """Runs to the end; returns the steps. Raises Violation."""
        rng = self.rng
        self.manager.tend()
        for submitter in self.submitters:
            self.after(rng.randint(1, 50 * MS), submitter.turn)
        self.after(_SWEEP, self._sweep)
        self.after(_TICK, self._tick)
        self.after(_TICK, self.manager.watch)
        storm = int(rng.uniform(0.6, 2.2) * SECOND)
        ending = rng.choice(("settle", "settle", "drain", "abrupt"))
        self._until(storm, lambda: False)
        self.note("the storm is over:", ending)
        if ending == "settle":
            self._clear()
            self.closing = True
            self._until(self.now + _SETTLED_WITHIN, self._is_settled)
            if not self._is_settled():
                raise Violation(f"not settled: {self.checker.open}, {self.checker.owing}, {self.checker.dispatches}")
            self._check_recovered()
        self.core.drain()
        if ending != "abrupt":
            self._until(self.now + rng.randint(100, 3_000) * MS, lambda: not self.core.pending)
        self.closing = True
        self._step(self._end, ())
        self._clear()
        for pool in self.manager.targets:
            self.manager.targets[pool] = 0
        for worker in list(self.manager.workers.values()):
            self.after(1, self.manager.retire, worker)
            self.after(2 * SECOND, self.manager.die, worker, "was killed")
        self._until(self.now + 6 * SECOND, lambda: False)
        audit_end(self.core, self.checker, self.now)
        return self.steps

    def _check_recovered(self) -> None:
        """After the storm: whoever asks now is served, in every pool. The second try is for one that comes while what
        lay in a buffer is out as the probe of an open breaker, or was, and took its worker with it."""
        for operation in ("get", "create", "increment"):
            if not self._is_served(operation) and not self._is_served(operation):
                raise Violation(f"after the storm nobody is served who asks to {operation}")

    def _is_served(self, operation: str) -> bool:
        self._until(self.now + SECOND, lambda: False)
        self._until(self.now + _SETTLED_WITHIN, self._is_settled)
        task = self.submitters[0].ask_now(operation)
        self._until(task.deadline, lambda: task.answer is not None)
        self.note("after the storm", task, "is answered", task.answer)
        return task.answer == OK

    # ---- the clock

    def at(self, time: int, handler: Callable[..., bool], *args: Any) -> None:
        heapq.heappush(self._heap, (time, next(self._sequence), handler, args))

    def after(self, delay: int, handler: Callable[..., bool], *args: Any) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._sequence), handler, args))

    def latency(self) -> int:
        return 50 + int(self.rng.random() * 300)

    def note(self, *what: Any) -> None:
        if self._trace is not None:
            self._trace(f"{self.now / SECOND:10.6f} {' '.join(map(str, what))}")

    def _until(self, limit: int, done: Callable[[], bool]) -> None:
        heap = self._heap
        while heap and heap[0][0] <= limit and not done():
            time, _, handler, args = heapq.heappop(heap)
            self.now = self.checker.now = time
            self._step(handler, args)

    def _step(self, handler: Callable[..., bool], args: tuple[Any, ...]) -> None:
        if not handler(*args):
            return
        self.steps += 1
        core, checker = self.core, self.checker
        while core._evictions.go_on(_SLICE):  # the daemon's next sweep would; so the checker need not know of slices
            pass
        # As with the supervisor, the core hands out work once per turn: what comes at the same time is one turn.
        turn_over = not (self._heap and self._heap[0][0] == self.now)
        if turn_over:
            core.dispatch(self.now)
        if core.actions:
            self._carry_out()
        checker.check()
        if turn_over:
            checker.check_dispatched()
        if self.steps % _AUDIT_EVERY == 0:
            audit(core, checker)

    def _carry_out(self) -> None:
        for action in self.core.take_actions():
            if isinstance(action, Send):
                self._send(action)
            elif isinstance(action, Instruct):
                self.manager.instructed(action.worker, action.frames)
            elif isinstance(action, Terminate):
                self.manager.terminated(action.worker, action.reason)
            elif isinstance(action, InDoubt):
                self.note("in doubt", action.key, action.operation, action.reason)
                self.checker.reported_in_doubt(action.key, action.operation)
            elif isinstance(action, LostRequest):
                self.checker.lost_request(action.body)
            else:
                raise Violation(f"nobody asked for {action}")

    def _send(self, action: Send) -> None:
        self.note("answer", action.submitter, action.frames[1])
        self.checker.answered(action.submitter, action.frames)
        if not any(submitter.present and submitter.identity == action.submitter for submitter in self.submitters):
            self.core.handle(ReplyUndelivered(action.item_count), self.now)

    # ---- what happens by itself

    def _sweep(self) -> bool:
        if self._ended:
            return False
        late = self.rng.randint(1, 300) * MS if self.rng.random() < self.weather.stall else 0
        self.after(_SWEEP + late, self._sweep)
        self.note("sweep")
        self.checker.sweep()
        while self.core.sweep(self.now):
            pass
        return True

    def _tick(self) -> bool:
        """The weather changes: the store, the workers, the daemon itself."""
        rng, weather = self.rng, self.weather
        if self.closing:
            return False
        self.after(_TICK, self._tick)
        if rng.random() < weather.wedge:
            pools = (
                list(self.manager.wedged_until) if rng.random() < 0.5 else [rng.choice(list(self.manager.wedged_until))]
            )
            for pool in pools:
                self.manager.wedged_until[pool] = self.now + rng.randint(20, 900) * MS
            self.note("the store is wedged", pools)
        if rng.random() < weather.upheaval:
            self.manager.upheaval()
        if rng.random() < weather.idle_crash and self.manager.workers:
            self.manager.die(rng.choice(list(self.manager.workers.values())), "crashed")
        if rng.random() < weather.restart and not self.core.draining:
            self._restart()
        return False

    def _restart(self) -> None:
        """kill -9 of the daemon: nothing is answered any more, and the next one knows nothing of it."""
        self.note("the daemon is killed, and started again")
        self.epoch += 1
        self.core = self._make_core(self.settings, self.epoch, self.now)
        self.checker = InvariantChecker(self.core, self.settings, self.now)
        self.manager.restart()

    def _clear(self) -> None:
        self.weather.clear()
        self.windy = 0
        for pool in self.manager.wedged_until:
            self.manager.wedged_until[pool] = 0

    def _end(self) -> bool:
        self.note("end")
        self._ended = True
        self.checker.end()
        self.core.end()
        return True

    def _is_settled(self) -> bool:
        checker = self.checker
        return not (checker.open or checker.owing or checker.dispatches)

    # ---- tasks

    def make(self, operation: str, pool: str, **fields: Any) -> Task:
        task = Task(next(self._tasks_made), operation, pool, **fields)
        self.tasks[task.body] = task
        return task

    def request_id(self) -> bytes:
        return next(self._requests).to_bytes(16, "little")
