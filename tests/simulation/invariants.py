"""What the core does, held against what must follow from each event: the invariants, checked after every step.

The reckoning derives from each event which answers are due in the same step, and what they may say; whatever the core
does beyond that must have a cause of its own. Each check costs what has changed, not what is pending.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import msgpack

from broker.core import Core
from broker.scheduling import POOL_OF_FOLLOW_UP, POOL_OF_REQUEST, POOLS
from broker.settings import BrokerSettings
from protocol import codes
from tests.simulation.reckoning import FAN_IN, ITEMS, REPLY, Reckoning
from tests.simulation.tally import Tally
from tests.simulation.tasks import (
    DISPATCHED,
    JOINING,
    NO,
    OK,
    QUEUED,
    UNKNOWN,
    HeldDispatch,
    Task,
    Violation,
    parse_header,
)


class InvariantChecker(Reckoning):
    def __init__(self, core: Core, settings: BrokerSettings, now: int) -> None:
        super().__init__(settings, now)
        self.core = core
        self.tally = Tally()
        self._last_number = 0
        self._batch_limit = settings.batch_limit
        self._owed_limit = settings.owed_items

    # ---- what the core does

    def handed(self, identity: bytes, dispatch: HeldDispatch, deadlines: Sequence[int]) -> None:
        """A worker is given work."""
        pool = self.pools.get(identity)
        if pool is None or identity in self.dispatches or identity in self.retired or identity in self.terminated:
            raise Violation(f"worker {identity!r} is given work that it has no credit for")
        if dispatch.number <= self._last_number or not dispatch.tasks:
            raise Violation(f"dispatch {dispatch.number} is empty, or its number is not new")
        self._last_number = dispatch.number
        alone = len(dispatch.tasks) == 1
        if not alone and sum(task.weight for task, _ in dispatch.tasks) > self._batch_limit:
            raise Violation(f"dispatch {dispatch.number} is larger than a batch")
        if POOLS[pool].has_follow_ups and len(self.owing) >= self._owed_limit:
            raise Violation("a new parent is handed out while more is owed than may be")
        core_pool = self.core.pools[pool]
        if core_pool.breaker.is_open and not (alone and self._may_probe(pool, core_pool)):
            raise Violation(f"pool {pool} is open, and is given more than one probe")
        self.tally.handed(dispatch, core_pool.breaker.is_open)
        for (task, only), deadline in zip(dispatch.tasks, deadlines, strict=True):
            self._check_handed(task, only, pool, alone, dispatch.operation)
            if deadline != task.deadline or 0 < deadline <= self.now:
                raise Violation(f"{task} is handed out with deadline {deadline}, its own is {task.deadline}")
            del self.queued[pool][task, only]
            task.flights.append(dispatch.number)
            if only is None:
                task.handed += 1
                task.state = DISPATCHED
        self.dispatches[identity] = dispatch
        self.touched = identity

    def answered(self, submitter: Hashable, frames: Sequence[Any]) -> None:
        """A request's answer is sent."""
        task = self.open.pop((submitter, frames[0][4:]), None)
        if task is None:
            raise Violation(f"an answer to {submitter}, whose request has none to get: answered twice?")
        self.pending -= task.weight
        header = bytes(frames[1])
        parsed = parse_header(header)
        kind, *detail = self.due.pop(task, None) or self._spontaneous(task, parsed)
        if kind == REPLY:
            if detail != [header, frames[2]]:
                raise Violation(f"{task} is not answered as its worker replied: {parsed}")
        elif kind in (FAN_IN, ITEMS):
            errors = {index: error[1] for index, error in parsed[3].items()}
            if parsed[0] != OK or errors != task.errors:
                raise Violation(f"{task} is answered {parsed}, its parts came to {task.errors}")
            if kind == FAN_IN:
                self._check_results(task, errors, frames[2])
        elif (kind, *detail) != parsed[:2]:
            raise Violation(f"{task} is answered {parsed}, due is {kind} {detail}")
        self.tally.answered(task, parsed)
        self._record(task, parsed)

    def reported_in_doubt(self, key: bytes, operation: str) -> None:
        self.in_doubt[key, operation] -= 1
        if self.in_doubt[key, operation] < 0:
            raise Violation(f"{operation} of {key!r} is reported as in doubt, and is not")
        if not self.in_doubt[key, operation]:
            del self.in_doubt[key, operation]

    def lost_request(self, body: bytes) -> None:
        self.losses[body] -= 1
        if not self.losses[body]:
            del self.losses[body]

    def told_to_stop(self, identity: bytes) -> None:
        if identity not in self.to_stop:
            raise Violation(f"worker {identity!r} is told to stop, unasked or with work in hand")
        self.to_stop.discard(identity)

    def told_to_terminate(self, identity: bytes) -> None:
        if identity not in self.to_terminate:
            raise Violation(f"worker {identity!r} is terminated without a cause")
        self.to_terminate.discard(identity)
        self.terminated.add(identity)

    def executes(self, task: Task, mask: int, number: int) -> None:
        """The ground truth: a worker does what it was told, though it may be dead already."""
        if number not in task.flights:
            raise Violation(f"{task} is executed by a dispatch that it was no part of")
        if task.executed & mask and not POOLS[task.pool].repeatable:
            raise Violation(f"{task} is executed twice")
        if mask & task.never or (task.parent and task.parent.never >> task.item & 1):
            raise Violation(f"{task} is executed after its answer, {task.root.answer}")
        task.executed |= mask

    # ---- after every step

    def check(self) -> None:
        if self.due or self.in_doubt or self.losses or self.to_stop or self.to_terminate:
            missing = self.due or self.in_doubt or self.losses or self.to_stop or self.to_terminate
            raise Violation(f"not done at once: {missing}")
        core = self.core
        if len(core.ledger) != len(self.open) + len(self.owing):
            raise Violation(f"ledger: {len(core.ledger)}, where {len(self.open)} are open, {len(self.owing)} owed")
        if core.ledger.owed != len(self.owing):
            raise Violation(f"owed: {core.ledger.owed}, where {len(self.owing)} are")
        admitted, answered = core.ledger.admitted, core.figures.items_answered
        if admitted != answered + self.pending:
            raise Violation(f"{admitted} items were admitted, {answered} answered, and {self.pending} are pending")
        if self.touched is not None:
            self._check_worker(self.touched)
            self.touched = None

    def check_dispatched(self) -> None:
        """After the core has handed out what it could: nobody waits for nothing."""
        for name, pool in self.core.pools.items():
            held_back = pool.kind.has_follow_ups and len(self.owing) >= self._owed_limit
            if pool.idle and pool.queue and not pool.breaker.is_open and not held_back:
                raise Violation(f"pool {name} has work and an idle worker")

    # ---- rules

    def _check_worker(self, identity: bytes) -> None:
        worker = self.core.workers.get(identity)
        if worker is None or (identity not in self.pools):
            if worker is not None or identity in self.pools:
                raise Violation(f"worker {identity!r} is gone, and is not forgotten, or the reverse")
            return
        dispatch = self.dispatches.get(identity)
        if (worker.dispatch and worker.dispatch.number) != (dispatch and dispatch.number):
            raise Violation(f"worker {identity!r} holds something else than it was given")
        credit = dispatch is None and identity not in self.retired and identity not in self.terminated
        if (worker in worker.pool.idle) != credit:
            raise Violation(f"worker {identity!r} {'has lost its credit' if credit else 'has credit that it may not'}")

    def _check_handed(self, task: Task, only: int | None, pool: str, alone: bool, operation: str) -> None:
        if task.pool != pool or task.operation != operation or (POOL_OF_REQUEST | POOL_OF_FOLLOW_UP)[operation] != pool:
            raise Violation(f"{task} is handed out as {operation} in pool {pool}")
        if task.root.answer is not None:
            raise Violation(f"{task} is handed out after its answer, {task.root.answer}")
        if (task, only) not in self.queued[pool]:
            raise Violation(f"{task} is handed out, and does not wait (item {only}, handed {task.handed})")
        if (only is not None or task.retried) and not alone:
            raise Violation(f"{task} is handed out again, and not alone")

    def _may_probe(self, pool: str, core_pool: Any) -> bool:
        breaker = core_pool.breaker
        return self.now >= breaker.probe_at and not any(
            dispatch.started >= breaker.tripped_at
            for other, dispatch in self.dispatches.items()
            if self.pools[other] == pool
        )

    def _spontaneous(self, task: Task, parsed: Any) -> tuple[Any, ...]:
        """What an answer without an event of its own may say: that it expired, found when it was to be handed out."""
        state, waiting = task.state, task.waiting
        if self.now < task.deadline or state not in (QUEUED, JOINING):
            raise Violation(f"{task} is answered {parsed} without a cause")
        self._due(task, codes.DEADLINE_EXCEEDED, UNKNOWN if task.handed else NO)
        expect = self.due.pop(task)
        if state == JOINING and parsed[0] == OK:
            task.errors |= {index if isinstance(index, int) else index.item: UNKNOWN for index in waiting}
            return (FAN_IN,)
        return expect

    def _check_results(self, task: Task, errors: dict[int, str], body: Any) -> None:
        results = msgpack.unpackb(body)
        if any(results[item] != task.number * 64 + item for item in range(task.items) if item not in errors):
            raise Violation(f"{task} is answered with another's result: {results}")

    def _record(self, task: Task, parsed: Any) -> None:
        """What the answer says is held against what happened, and against what happens from now on."""
        everything = (1 << task.items) - 1
        code, executed, count, errors = parsed
        if code == OK and count != task.items:
            raise Violation(f"{task} is answered with {count} items")
        task.answer = OK if code == OK else executed
        if code != OK:
            errors = dict.fromkeys(range(task.items), (code, executed))
        unknown = 0
        for index, (code, executed) in errors.items():
            if executed == UNKNOWN:
                unknown |= 1 << index
            elif task.executed >> index & 1 and code not in codes.REJECTIONS:
                raise Violation(f"{task}: item {index} is answered `no`, and was executed")
        well = everything & ~sum(1 << index for index in errors)
        if task.executed & well != well:
            raise Violation(f"{task} is answered OK, and was not executed")
        task.never = everything & ~unknown
