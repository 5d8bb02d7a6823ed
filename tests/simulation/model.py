"""What must follow from each event: a second, simple-minded reckoning of every request, checked after every step.

The model sees what the core sees (events) and what it does (actions). From each event it derives which answers are
`due` in the same step, and what they may say; whatever the core does beyond that must have a cause of its own. Each
check costs what has changed, not what is pending.
"""

import heapq
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import msgpack

from broker.core import Core
from broker.settings import MICROSECONDS, BrokerSettings
from protocol import codes
from protocol.operations import FOLLOW_UPS, MAY_OWE, OPERATIONS, POOLS

from .tasks import DONE, HELD, JOINING, NO, OK, QUEUED, UNKNOWN, Hand, Message, Task, Violation, parse_header

REPLY = "as the worker replied"
JOIN = "joined"


class Model:
    """One incarnation of the daemon. `due`: the answers that this step owes; `doubts`: the reports of lost work."""

    def __init__(self, core: Core, settings: BrokerSettings, now: int) -> None:
        self.core = core
        self.now = now
        self.open: dict[tuple[Hashable, bytes], Task] = {}
        self.owing: dict[Task, None] = {}
        self.hands: dict[bytes, Hand] = {}
        self.lines: dict[bytes, dict[Task, None]] = {}
        self.running: set[bytes] = set()
        self.queued: dict[str, dict[tuple[Task, int | None], None]] = {name: {} for name in POOLS}
        self.pools: dict[bytes, str] = {}
        self.retired: set[bytes] = set()
        self.condemned: set[bytes] = set()
        self.due: dict[Task, tuple[Any, ...]] = {}
        self.doubts: Counter[tuple[bytes, str]] = Counter()
        self.losses: Counter[bytes] = Counter()
        self.to_stop: set[bytes] = set()
        self.to_condemn: set[bytes] = set()
        self.touched: bytes | None = None
        self.pending = 0
        self.ended = False
        self._deadlines: list[tuple[int, int, Task]] = []
        self._empty_since: dict[str, int | None] = dict.fromkeys(POOLS, now)
        self._last_number = 0
        self._batch_limit = settings.batch_limit
        self._owed_limit = settings.owed_items
        self._execution_limit = int(settings.execution_limit_seconds * MICROSECONDS)
        self._deserted = int(settings.workerless_seconds * MICROSECONDS)

    # ---- events

    def admitted(self, task: Task) -> None:
        self.open[task.submitter, task.request_id] = task
        self.pending += task.weight
        self.queued[task.pool][task, None] = None
        heapq.heappush(self._deadlines, (task.deadline, task.number, task))

    def ready(self, identity: bytes, pool: str) -> None:
        self.pools[identity] = pool
        self._empty_since[pool] = None
        self.touched = identity

    def done(self, identity: bytes, message: Message) -> None:
        """A worker's answer is about to be passed in."""
        hand = self.hands.get(identity)
        if hand is None or (message.number is not None and message.number != hand.number):
            return
        if message.sound:
            for (task, only), (header, body, parts) in zip(hand.tasks, message.replies, strict=True):
                self._replied(task, only, header, body, parts)
            for owed in message.owed:
                self._owe(owed)
        else:
            for task, only in hand.tasks:
                self._failed(task, only, codes.INTERNAL)
            self._lost_with(hand)
            if identity not in self.condemned:
                self.to_condemn.add(identity)
        self._release(identity)

    def lost(self, identity: bytes) -> None:
        if identity not in self.pools:
            return
        hand = self.hands.get(identity)
        for task, only in hand.tasks if hand else ():
            if POOLS[task.pool].repeatable and not task.retry and task.deadline > self.now and task.state != DONE:
                self._once_more(task)
            else:
                self._failed(task, only, codes.WORKER_CRASHED)
        if hand:
            self._lost_with(hand)
        pool = self.pools.pop(identity)
        self.retired.discard(identity)
        self.condemned.discard(identity)
        self._release(identity)
        if pool not in self.pools.values():
            self._empty_since[pool] = self.now

    def condemn(self, identity: bytes) -> None:
        if identity in self.pools and identity not in self.condemned:
            self.to_condemn.add(identity)

    def retire(self, identity: bytes) -> None:
        if identity in self.pools and identity not in self.retired:
            self.retired.add(identity)
            if identity not in self.hands and identity not in self.condemned:
                self.to_stop.add(identity)

    def sweep(self) -> None:
        now = self.now
        while self._deadlines and self._deadlines[0][0] <= now:
            task = heapq.heappop(self._deadlines)[2]
            self._due(task, codes.DEADLINE_EXCEEDED, NO if task.state == QUEUED and not task.handed else UNKNOWN)
        for identity, hand in self.hands.items():
            if identity not in self.condemned and now - hand.started > self._execution_limit:
                self.to_condemn.add(identity)
                self._give_up(self.pools[identity])
        for pool in self.queued:
            if self.is_deserted(pool):
                self._give_up(pool)

    def end(self) -> None:
        self.ended = True
        for task in self.open.values():
            self._due(task, codes.SHUTTING_DOWN, NO if task.state == QUEUED and not task.handed else UNKNOWN)
        for task in self.owing:
            self._drop(task)
            self.doubts[task.key or b"", task.operation] += 1
        self.owing.clear()

    # ---- what the core does

    def handed(self, identity: bytes, hand: Hand, deadlines: Sequence[int]) -> None:
        """A worker is given work."""
        pool = self.pools.get(identity)
        if pool is None or identity in self.hands or identity in self.retired or identity in self.condemned:
            raise Violation(f"worker {identity!r} is given work that it has no credit for")
        if hand.number <= self._last_number or not hand.tasks:
            raise Violation(f"dispatch {hand.number} is empty, or its number is not new")
        self._last_number = hand.number
        alone = len(hand.tasks) == 1
        if not alone and sum(task.weight for task, _ in hand.tasks) > self._batch_limit:
            raise Violation(f"dispatch {hand.number} is larger than a batch")
        if POOLS[pool].feeds and len(self.owing) >= self._owed_limit:
            raise Violation("a new parent is handed out while more is owed than may be")
        core_pool = self.core.pools[pool]
        if core_pool.open_since is not None and not (alone and self._may_probe(pool, core_pool)):
            raise Violation(f"pool {pool} is open, and is given more than one probe")
        for (task, only), deadline in zip(hand.tasks, deadlines, strict=True):
            self._check_handed(task, only, pool, alone, hand.operation)
            if deadline != task.deadline or 0 < deadline <= self.now:
                raise Violation(f"{task} is handed out with deadline {deadline}, its own is {task.deadline}")
            del self.queued[pool][task, only]
            task.flights.append(hand.number)
            if only is None:
                task.handed += 1
                task.state = HELD
            if task.key is not None:
                self.running.add(task.key)
        self.hands[identity] = hand
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
        elif kind == JOIN:
            errors = {index: error[1] for index, error in parsed[3].items()} if parsed else None
            if parsed is None or parsed[0] != OK or errors != task.errors:
                raise Violation(f"{task} is answered {parsed}, its parts came to {task.errors}")
            self._check_results(task, errors, frames[2])
        elif parsed is None or [kind, *detail] != [*parsed[:2]]:
            raise Violation(f"{task} is answered {parsed}, due is {kind} {detail}")
        self._record(task, parsed)

    def in_doubt(self, key: bytes, operation: str) -> None:
        self.doubts[key, operation] -= 1
        if self.doubts[key, operation] < 0:
            raise Violation(f"{operation} of {key!r} is reported as in doubt, and is not")
        if not self.doubts[key, operation]:
            del self.doubts[key, operation]

    def lost_request(self, body: bytes) -> None:
        self.losses[body] -= 1
        if not self.losses[body]:
            del self.losses[body]

    def told_to_stop(self, identity: bytes) -> None:
        if identity not in self.to_stop:
            raise Violation(f"worker {identity!r} is told to stop, unasked or with work in hand")
        self.to_stop.discard(identity)

    def told_to_condemn(self, identity: bytes) -> None:
        if identity not in self.to_condemn:
            raise Violation(f"worker {identity!r} is condemned without a cause")
        self.to_condemn.discard(identity)
        self.condemned.add(identity)

    def executes(self, task: Task, mask: int, number: int, landing: bool) -> None:
        """The ground truth: a worker does what it was told. landing: it is dead already."""
        if number not in task.flights:
            raise Violation(f"{task} is executed by a dispatch that it was no part of")
        if task.executed & mask and not POOLS[task.pool].repeatable:
            raise Violation(f"{task} is executed twice")
        if mask & task.never or (task.parent and task.parent.never >> task.item & 1):
            raise Violation(f"{task} is executed after its answer, {task.root.answer}")
        if task.key is not None and not landing and self._first(task.key) is not task:
            raise Violation(f"{task} is executed before others of its key")
        task.executed |= mask

    # ---- after every step

    def check(self) -> None:
        if self.due or self.doubts or self.losses or self.to_stop or self.to_condemn:
            missing = self.due or self.doubts or self.losses or self.to_stop or self.to_condemn
            raise Violation(f"not done at once: {missing}")
        core = self.core
        counters = core.counters
        if len(core.ledger) != len(self.open) + len(self.owing):
            raise Violation(f"ledger: {len(core.ledger)}, where {len(self.open)} are open, {len(self.owing)} owed")
        if core.owed != len(self.owing):
            raise Violation(f"owed: {core.owed}, where {len(self.owing)} are")
        if counters["admitted"] != counters["answered"] + self.pending:
            raise Violation(f"counters: {dict(counters)}, where {self.pending} are pending")
        if self.touched is not None:
            self._check_worker(self.touched)
            self.touched = None

    def check_dispatched(self) -> None:
        """After the core has handed out what it could: nobody waits for nothing."""
        for name, pool in self.core.pools.items():
            held_back = pool.kind.feeds and len(self.owing) >= self._owed_limit
            if pool.idle and pool.queue and pool.open_since is None and not held_back:
                raise Violation(f"pool {name} has work and an idle worker")

    def is_deserted(self, pool: str) -> bool:
        since = self._empty_since[pool]
        return since is not None and self.now - since > self._deserted

    # ---- rules

    def _check_worker(self, identity: bytes) -> None:
        worker = self.core.workers.get(identity)
        if worker is None or (identity not in self.pools):
            if worker is not None or identity in self.pools:
                raise Violation(f"worker {identity!r} is gone, and is not forgotten, or the reverse")
            return
        hand = self.hands.get(identity)
        if (worker.dispatch and worker.dispatch.number) != (hand and hand.number):
            raise Violation(f"worker {identity!r} holds something else than it was given")
        credit = hand is None and identity not in self.retired and identity not in self.condemned
        if (worker in worker.pool.idle) != credit:
            raise Violation(f"worker {identity!r} {'has lost its credit' if credit else 'has credit that it may not'}")

    def _check_handed(self, task: Task, only: int | None, pool: str, alone: bool, operation: str) -> None:
        if task.pool != pool or task.operation != operation or (OPERATIONS | FOLLOW_UPS)[operation] != pool:
            raise Violation(f"{task} is handed out as {operation} in pool {pool}")
        if task.root.answer is not None:
            raise Violation(f"{task} is handed out after its answer, {task.root.answer}")
        if (task, only) not in self.queued[pool]:
            raise Violation(f"{task} is handed out, and does not wait (item {only}, handed {task.handed})")
        if (only is not None or task.retry) and not alone:
            raise Violation(f"{task} is handed out again, and not alone")
        if task.key is not None and (task.key in self.running or self._first(task.key) is not task):
            raise Violation(f"{task} is handed out before others of its key are done")

    def _may_probe(self, pool: str, core_pool: Any) -> bool:
        return self.now >= core_pool.probe_at and not any(
            hand.started >= core_pool.open_since for other, hand in self.hands.items() if self.pools[other] == pool
        )

    def _spontaneous(self, task: Task, parsed: Any) -> tuple[Any, ...]:
        """What an answer without an event of its own may say: that it expired, found when it was to be handed out."""
        state, waiting = task.state, task.waiting
        if self.now < task.deadline or state not in (QUEUED, JOINING):
            raise Violation(f"{task} is answered {parsed} without a cause")
        self._due(task, codes.DEADLINE_EXCEEDED, UNKNOWN if task.handed else NO)
        expect = self.due.pop(task)
        if state == JOINING and parsed and parsed[0] == OK:
            task.errors |= {index if isinstance(index, int) else index.item: UNKNOWN for index in waiting}
            return (JOIN,)
        return expect

    def _check_results(self, task: Task, errors: dict[int, str], body: Any) -> None:
        results = msgpack.unpackb(body)
        if any(results[item] != task.number * 64 + item for item in range(task.items) if item not in errors):
            raise Violation(f"{task} is answered with another's result: {results}")

    def _record(self, task: Task, parsed: Any) -> None:
        """What the answer says is held against what happened, and against what happens from now on."""
        everything = (1 << task.items) - 1
        if parsed is None:
            task.answer = UNKNOWN
            return
        code, executed, _, errors = parsed
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

    # ---- the model's own reckoning

    def _due(self, task: Task, *expect: Any) -> None:
        if task.state == DONE:
            return
        self.queued[task.pool].pop((task, None), None)
        task.state = DONE
        for part in task.waiting:
            if isinstance(part, Task):
                self._drop(part)
            else:
                self.queued[task.pool].pop((task, part), None)
        task.waiting = set()
        self.due[task] = expect

    def _drop(self, part: Task) -> None:
        if self.queued[part.pool].pop((part, None), self) is None and part.key is not None:
            self._leave_line(part)
        part.state = DONE

    def _first(self, key: bytes) -> Task | None:
        """Who is first with a key, but for parts that have expired where they waited."""
        for task in self.lines[key]:
            if task.owed or task.handed or task.deadline > self.now:
                return task
        return None

    def _leave_line(self, task: Task) -> None:
        line = self.lines[task.key or b""]
        line.pop(task, None)
        if not line:
            del self.lines[task.key or b""]

    def _owe(self, task: Task) -> None:
        if self.ended:
            self.doubts[task.key or b"", task.operation] += 1
            return
        self.owing[task] = None
        self._line_up(task)

    def _line_up(self, task: Task) -> None:
        self.queued[task.pool][task, None] = None
        self.lines.setdefault(task.key or b"", {})[task] = None

    def _replied(self, task: Task, only: int | None, header: bytes, body: bytes, parts: Sequence[Task]) -> None:
        if task.state == DONE:
            return
        if only is not None or task.parent or task.owed:
            self._part_done(task, only, _part_error(header, body, only))
        elif parts:
            parsed = parse_header(header)
            task.errors = {index: error[1] for index, error in parsed[3].items()} if parsed else {}
            task.waiting = set(parts)
            task.state = JOINING
            for part in parts:
                self._line_up(part)
        elif task.retry:
            parsed = parse_header(header)
            if parsed and parsed[0] in codes.FAULTS:
                self._due(task, parsed[0], UNKNOWN)
            elif parsed and parsed[3]:
                task.errors = {index: _doubtful(error) for index, error in parsed[3].items()}
                self._due(task, JOIN)
            else:
                self._due(task, REPLY, header, body)
        else:
            self._due(task, REPLY, header, body)

    def _failed(self, task: Task, only: int | None, code: str) -> None:
        if task.state == DONE:
            return
        if only is not None or task.parent or task.owed:
            self._part_done(task, only, UNKNOWN)
        else:
            self._due(task, code, UNKNOWN)

    def _part_done(self, task: Task, only: int | None, error: str | None) -> None:
        if task.owed:
            task.state = DONE
            del self.owing[task]
            if error is not None:
                self.doubts[task.key or b"", task.operation] += 1
            return
        whole, part, index = (task, only, only) if only is not None else (task.parent, task, task.item)
        if only is None:
            task.state = DONE
            error = error and UNKNOWN
        if whole is None or whole.state == DONE or part not in whole.waiting:
            return
        whole.waiting.discard(part)
        if error is not None:
            whole.errors[index or 0] = error
        if not whole.waiting:
            self._due(whole, JOIN)

    def _lost_with(self, hand: Hand) -> None:
        """What it may have led to is not known."""
        if hand.operation in MAY_OWE:
            self.losses.update(task.body for task, _ in hand.tasks)

    def _once_more(self, task: Task) -> None:
        task.retry = True
        if task.items == 1:
            task.state = QUEUED
            self.queued[task.pool][task, None] = None
            return
        task.state = JOINING
        task.waiting = set(range(task.items))
        task.errors = {}
        for item in range(task.items):
            self.queued[task.pool][task, item] = None

    def _give_up(self, pool: str) -> None:
        """The pool's store does not answer, or it has no worker: what waits there is answered."""
        for task, only in list(self.queued[pool]):
            if (task, only) not in self.queued[pool] or task.owed:
                continue
            if only is None and task.parent is None:
                self._due(task, codes.UNAVAILABLE, UNKNOWN if task.handed else NO)
                continue
            del self.queued[pool][task, only]
            if task.key is not None:
                self._leave_line(task)
            self._part_done(task, only, UNKNOWN)

    def _release(self, identity: bytes) -> None:
        self.touched = identity
        hand = self.hands.pop(identity, None)
        for task, _ in hand.tasks if hand else ():
            if task.key is not None:
                self.running.discard(task.key)
                self._leave_line(task)
        if hand and identity in self.retired and identity not in self.condemned and identity not in self.to_condemn:
            self.to_stop.add(identity)


def _doubtful(error: tuple[str, str]) -> str:
    """What a second worker says of a read is not all there is to know: the first may have executed it."""
    return UNKNOWN if error[0] in codes.FAULTS else error[1]


def _part_error(header: bytes, body: bytes, only: int | None) -> str | None:
    """What a part's reply says went wrong: `executed`, or None where it is well."""
    parsed = parse_header(header)
    if parsed is None:
        return UNKNOWN
    error = (parsed[0], parsed[1]) if parsed[0] != OK else parsed[3].get(0)
    if error is not None:
        return _doubtful(error)
    if only is not None:
        try:
            values = msgpack.unpackb(body)
        except ValueError:
            return UNKNOWN
        if type(values) is not list or len(values) != 1:
            return UNKNOWN
    return None
