"""The checker's own reckoning: what is open, owed, queued and in whose hands, and what each piece of work came to.

Nothing here looks at the core: it follows from the events alone. `due` and `in_doubt` are what the core owes in the
same step; invariants.py holds it against what the core does.
"""

import heapq
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import msgpack

from broker.scheduling import MAY_OWE, POOLS
from broker.settings import MICROSECONDS, BrokerSettings
from protocol import codes
from tests.simulation.tasks import ANSWERED, JOINING, NO, OK, QUEUED, UNKNOWN, HeldDispatch, Message, Task, parse_header

REPLY = "as the worker replied"
FAN_IN = "by its parts"
ITEMS = "item by item"


class Reckoning:
    """One incarnation of the daemon. due: the answers that this step owes, and what they must say; in_doubt, losses:
    the reports of lost work; to_stop, to_terminate: workers. `now` is set before each event."""

    def __init__(self, settings: BrokerSettings, now: int) -> None:
        self.now = now
        self.open: dict[tuple[Hashable, bytes], Task] = {}
        self.owing: dict[Task, None] = {}
        self.dispatches: dict[bytes, HeldDispatch] = {}
        self.queued: dict[str, dict[tuple[Task, int | None], None]] = {name: {} for name in POOLS}
        self.pools: dict[bytes, str] = {}
        self.retired: set[bytes] = set()
        self.terminated: set[bytes] = set()
        self.due: dict[Task, tuple[Any, ...]] = {}
        self.in_doubt: Counter[tuple[bytes, str]] = Counter()
        self.losses: Counter[bytes] = Counter()
        self.to_stop: set[bytes] = set()
        self.to_terminate: set[bytes] = set()
        self.touched: bytes | None = None
        self.pending = 0
        self.ended = False
        self._deadlines: list[tuple[int, int, Task]] = []
        self._open_since: dict[str, int | None] = dict.fromkeys(POOLS)
        self._turned = dict.fromkeys(POOLS, now)
        self._empty_since: dict[str, int | None] = dict.fromkeys(POOLS, now)
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
        dispatch = self.dispatches.get(identity)
        if dispatch is None or (message.number is not None and message.number != dispatch.number):
            return
        if message.sound:
            if not message.timed_out:
                self._close(self.pools[identity], dispatch)
            for (task, only), (header, body, parts) in zip(dispatch.tasks, message.replies, strict=True):
                if dispatch.operation in MAY_OWE and _leaves_open(header):
                    self.losses[task.body] += 1
                self._replied(task, only, header, body, parts)
            for owed in message.owed:
                self._owe(owed)
            if message.timed_out and dispatch.started >= self._turned[self.pools[identity]]:
                self._open(self.pools[identity])
        else:
            for task, only in dispatch.tasks:
                self._failed(task, only, codes.INTERNAL)
            self._lost_with(dispatch)
            if identity not in self.terminated:
                self.to_terminate.add(identity)
        self._release(identity)

    def lost(self, identity: bytes) -> None:
        if identity not in self.pools:
            return
        dispatch = self.dispatches.get(identity)
        for task, only in dispatch.tasks if dispatch else ():
            if POOLS[task.pool].repeatable and not task.retried and task.deadline > self.now and task.state != ANSWERED:
                self._once_more(task)
            else:
                self._failed(task, only, codes.WORKER_CRASHED)
        if dispatch:
            self._lost_with(dispatch)
        pool = self.pools.pop(identity)
        self.retired.discard(identity)
        self.terminated.discard(identity)
        self._release(identity)
        if pool not in self.pools.values():
            self._empty_since[pool] = self.now

    def terminate(self, identity: bytes) -> None:
        if identity in self.pools and identity not in self.terminated:
            self.to_terminate.add(identity)

    def retire(self, identity: bytes) -> None:
        if identity in self.pools and identity not in self.retired:
            self.retired.add(identity)
            if identity not in self.dispatches and identity not in self.terminated:
                self.to_stop.add(identity)

    def sweep(self) -> None:
        now = self.now
        while self._deadlines and self._deadlines[0][0] <= now:
            task = heapq.heappop(self._deadlines)[2]
            self._due(task, codes.DEADLINE_EXCEEDED, NO if task.state == QUEUED and not task.handed else UNKNOWN)
        for identity, dispatch in self.dispatches.items():
            if identity not in self.terminated and now - dispatch.started > self._execution_limit:
                self.to_terminate.add(identity)
                self._open(self.pools[identity])
        for pool in self.queued:
            if self.is_deserted(pool):
                self._give_up(pool)

    def end(self) -> None:
        self.ended = True
        for task in self.open.values():
            self._refused(task, codes.SHUTTING_DOWN)
        for task in self.owing:
            self._drop(task)
            self.in_doubt[task.key or b"", task.operation] += 1
        self.owing.clear()

    def is_deserted(self, pool: str) -> bool:
        since = self._empty_since[pool]
        return since is not None and self.now - since > self._deserted

    # ---- what it comes to

    def _due(self, task: Task, *expect: Any) -> None:
        if task.state == ANSWERED:
            return
        self.queued[task.pool].pop((task, None), None)
        task.state = ANSWERED
        for part in task.waiting:
            if isinstance(part, Task):
                self._drop(part)
            else:
                self.queued[task.pool].pop((task, part), None)
        task.waiting = set()
        self.due[task] = expect

    def _drop(self, part: Task) -> None:
        self.queued[part.pool].pop((part, None), None)
        part.state = ANSWERED

    def _owe(self, task: Task) -> None:
        if self.ended:
            self.in_doubt[task.key or b"", task.operation] += 1
            return
        self.owing[task] = None
        self.queued[task.pool][task, None] = None

    def _replied(self, task: Task, only: int | None, header: bytes, body: bytes, parts: Sequence[Task]) -> None:
        if task.state == ANSWERED:
            return
        if only is not None or task.parent or task.owed:
            self._part_done(task, only, _part_error(header, body, only))
        elif parts:
            parsed = parse_header(header)
            task.errors = {index: error[1] for index, error in parsed[3].items()}
            task.waiting = set(parts)
            task.state = JOINING
            for part in parts:
                self.queued[part.pool][part, None] = None
        elif task.retried:
            self._replied_again(task, header, body)
        else:
            self._due(task, REPLY, header, body)

    def _replied_again(self, task: Task, header: bytes, body: bytes) -> None:
        parsed = parse_header(header)
        if parsed[0] in codes.FAULTS:
            self._due(task, parsed[0], UNKNOWN)
        elif parsed[3]:
            task.errors = {index: _doubtful(error) for index, error in parsed[3].items()}
            self._due(task, ITEMS)
        else:
            self._due(task, REPLY, header, body)

    def _failed(self, task: Task, only: int | None, code: str) -> None:
        if task.state == ANSWERED:
            return
        if only is not None or task.parent or task.owed:
            self._part_done(task, only, UNKNOWN)
        else:
            self._due(task, code, UNKNOWN)

    def _part_done(self, task: Task, only: int | None, error: str | None) -> None:
        if task.owed:
            task.state = ANSWERED
            del self.owing[task]
            if error is not None:
                self.in_doubt[task.key or b"", task.operation] += 1
            return
        whole, part, index = (task, only, only) if only is not None else (task.parent, task, task.item)
        if only is None:
            task.state = ANSWERED
            error = error and UNKNOWN
        if whole is None or whole.state == ANSWERED or part not in whole.waiting:
            return
        whole.waiting.discard(part)
        if error is not None:
            whole.errors[index or 0] = error
        if not whole.waiting:
            self._due(whole, FAN_IN)

    def _lost_with(self, dispatch: HeldDispatch) -> None:
        """What it may have led to is not known."""
        if dispatch.operation in MAY_OWE:
            self.losses.update(task.body for task, _ in dispatch.tasks)

    def _once_more(self, task: Task) -> None:
        task.retried = True
        if task.items == 1:
            task.state = QUEUED
            self.queued[task.pool][task, None] = None
            return
        task.state = JOINING
        task.waiting = set(range(task.items))
        task.errors = {}
        for item in range(task.items):
            self.queued[task.pool][task, item] = None

    def _refused(self, task: Task, code: str) -> None:
        """The code where nobody had it in hand."""
        if task.state == QUEUED and not task.handed:
            self._due(task, code, NO)
        else:
            self._due(task, codes.WORKER_CRASHED, UNKNOWN)

    def _open(self, pool: str) -> None:
        if self._open_since[pool] is None:
            self._open_since[pool] = self._turned[pool] = self.now
        self._give_up(pool)

    def _close(self, pool: str, dispatch: HeldDispatch) -> None:
        since = self._open_since[pool]
        if since is not None and dispatch.started >= since:
            self._open_since[pool] = None
            self._turned[pool] = self.now

    def _give_up(self, pool: str) -> None:
        """The pool's store does not answer, or it has no worker: what waits there is answered."""
        for task, only in list(self.queued[pool]):
            if (task, only) not in self.queued[pool] or task.owed:
                continue
            if only is None and task.parent is None:
                self._refused(task, codes.UNAVAILABLE)
                continue
            del self.queued[pool][task, only]
            self._part_done(task, only, UNKNOWN)

    def _release(self, identity: bytes) -> None:
        self.touched = identity
        dispatch = self.dispatches.pop(identity, None)
        if (
            dispatch
            and identity in self.retired
            and identity not in self.terminated
            and identity not in self.to_terminate
        ):
            self.to_stop.add(identity)


def _doubtful(error: tuple[str, str]) -> str:
    """What a second worker says of a read is not all there is to know: the first may have executed it."""
    return UNKNOWN if error[0] in codes.FAULTS else error[1]


def _leaves_open(header: bytes) -> bool:
    parsed = parse_header(header)
    return UNKNOWN in (parsed[1], *(executed for _, executed in parsed[3].values()))


def _part_error(header: bytes, body: bytes, only: int | None) -> str | None:
    """What a part's reply says went wrong: `executed`, or None where it is well."""
    parsed = parse_header(header)
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
