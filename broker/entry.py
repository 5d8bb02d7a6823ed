"""An entry: one piece of work that the broker owes an answer for, and the state machine that it goes through.

    QUEUED          it waits in its pool's queue
    DISPATCHED      a worker holds it
    AWAITING_PARTS  its answer waits for parts: follow-ups, or the items of a read, each dispatched again alone
    ANSWERED        it has had its one answer, or the answer that it was a part of has gone out without it

The rules:

Rule 1: a state changes through one door, `Entry.to`, and only as TRANSITIONS allows; all else raises IllegalTransition.

Rule 2: every entry begins QUEUED and ends ANSWERED. Nothing leads out of ANSWERED: there is no second answer.

Rule 3: only what was dispatched can wait for parts: they follow from a worker's reply, or from its loss.

Rule 4: DISPATCHED -> QUEUED is for a read whose worker was lost, once. It is `retried` from then on; so is, from its
beginning, a part that is one item of such a read.

Rule 5: where the broker itself has to answer, what it says of the execution follows from these two alone, and stands in
`Entry.executed`: `no` while an entry is QUEUED and not retried, since no worker has ever held it; else `unknown`.
"""

from collections.abc import Hashable
from enum import Enum
from typing import Any, Final, Protocol

from protocol.codes import NO, UNKNOWN
from protocol.wire import REQUEST_ID_BYTES, Error

# A body as it came off the wire, bytes or a ZeroMQ frame: passed on uncopied and unread; only its length is asked for.
Body = Any

NEVER: Final = 0  # the deadline of owed work
NO_REQUEST: Final = bytes(REQUEST_ID_BYTES)  # the request id of owed work


class State(Enum):
    """next: the states that may follow."""

    QUEUED = "queued"
    DISPATCHED = "dispatched"
    AWAITING_PARTS = "awaiting parts"
    ANSWERED = "answered"

    next: tuple["State", ...]


# By these names, since an enum's member takes twice as long to look up by its class (Python 3.11).
QUEUED: Final = State.QUEUED
DISPATCHED: Final = State.DISPATCHED
AWAITING_PARTS: Final = State.AWAITING_PARTS
ANSWERED: Final = State.ANSWERED

TRANSITIONS: Final[dict[State, tuple[State, ...]]] = {
    QUEUED: (DISPATCHED, ANSWERED),
    DISPATCHED: (ANSWERED, AWAITING_PARTS, QUEUED),
    AWAITING_PARTS: (ANSWERED,),
    ANSWERED: (),
}
# For the door, which each item passes twice: to ask the state itself costs half of what a look into the table does.
for _state, _next in TRANSITIONS.items():
    _state.next = _next


class IllegalTransition(Exception):
    """A defect of the broker: the table has no such transition. The entry keeps its state."""


class FanIn(Protocol):
    """What an answer waits for: `parts`, whose results become the one reply."""

    parts: dict["Entry", None]

    def resolve(self, part: "Entry", error: Error | None, body: Body) -> None:
        """A part is done, well where `error` is None, with `body` as its result: it is waited for no more."""

    def reply(self) -> tuple[bytes, Body]:
        """Header and body of the reply, once no part is left."""


class Entry:
    """One request, or one part of the work for a request, or one piece of owed work.

    submitter: who gets the answer; None for a part and for owed work. deadline: microseconds; NEVER for owed work.
    weight: what it counts in a batch and in a queue: the items of a request, the records that a follow-up touches.
    item_count: how many items a worker executes and answers: those of a request; one of a part or of owed work.
    size: bytes it adds to the backlog. arrived: when the request came, or the work followed that this is, microseconds.
    request_id: of the request that this is, or is a part of; zeros for owed work. parent, parent_item: the entry whose
    answer waits for this part, and the item of it that fails where the part does. key: of the record that owed work is
    about, told where its outcome is not known. only_item: the one item of the body to execute, or None for all.
    retried: its worker, or its parent's, was lost once already. fan_in: what the answer waits for. state: read it as
    you like; it changes through `to`.
    """

    __slots__ = (
        "arrived",
        "body",
        "deadline",
        "fan_in",
        "flags",
        "item_count",
        "key",
        "only_item",
        "operation",
        "parent",
        "parent_item",
        "pool",
        "request_id",
        "retried",
        "size",
        "state",
        "submitter",
        "weight",
    )

    def __init__(
        self,
        *,
        operation: str,
        pool: str,
        deadline: int,
        weight: int,
        body: Body,
        arrived: int,
        submitter: Hashable = None,
        request_id: bytes = NO_REQUEST,
        flags: int = 0,
        parent: "Entry | None" = None,
        parent_item: int = 0,
        key: bytes | None = None,
        only_item: int | None = None,
    ) -> None:
        self.operation = operation
        self.pool = pool
        self.deadline = deadline
        self.weight = weight
        self.body = body
        self.arrived = arrived
        self.size = len(body) if only_item is None else 0
        self.submitter = submitter
        self.item_count = 1 if submitter is None else weight
        self.request_id = request_id
        self.flags = flags
        self.parent = parent
        self.parent_item = parent_item
        self.key = key
        self.only_item = only_item
        self.retried = only_item is not None
        self.fan_in: FanIn | None = None
        self.state = QUEUED

    def to(self, state: State) -> None:
        """The one door to another state. Raises IllegalTransition."""
        if state not in self.state.next or (state is QUEUED and self.retried):
            raise IllegalTransition(f"{self.operation}: {self.state.value} -> {state.value}, retried: {self.retried}")
        if state is QUEUED:
            self.retried = True
        self.state = state

    @property
    def executed(self) -> str:
        """What an answer given now, because there is none of a worker, says of its execution: NO or UNKNOWN."""
        return NO if self.state is QUEUED and not self.retried else UNKNOWN

    @property
    def is_owed(self) -> bool:
        """Whether it is owed work, which nobody waits for."""
        return self.deadline == NEVER
