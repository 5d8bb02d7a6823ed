"""Requests and follow-up work as the simulated world knows them: what was asked, and what truly happened to it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgpack

from protocol import codes

# Where a task is, by the checker's own reckoning, in the words of broker/entry.py.
QUEUED: Final = 0
DISPATCHED: Final = 1
JOINING: Final = 2
ANSWERED: Final = 3

NO: Final = codes.NO
UNKNOWN: Final = codes.UNKNOWN
OK: Final = codes.OK


class Violation(AssertionError):
    """An invariant does not hold."""


class Task:
    """One request, one part of the work for a request, or one piece of owed work.

    items: results in its answer. weight: what it counts in a batch. root: the request whose answer depends on it, or
    itself. executed, never: bits of the items that were executed, and of those that an answer said never would be.
    handed: how often it was handed out whole. again: the items of a read that may be handed out once more, alone.
    waiting: the parts (or items) its answer waits for. errors: those of its items, by what its parts came to.
    answer: OK, NO or UNKNOWN once it is sent. flights: the dispatches it was part of.
    """

    __slots__ = (
        "again",
        "answer",
        "body",
        "deadline",
        "errors",
        "executed",
        "expected",
        "flights",
        "handed",
        "item",
        "items",
        "key",
        "never",
        "number",
        "operation",
        "owed",
        "parent",
        "poison",
        "pool",
        "request_id",
        "retried",
        "state",
        "submitter",
        "waiting",
        "weight",
    )

    def __init__(
        self,
        number: int,
        operation: str,
        pool: str,
        *,
        deadline: int,
        weight: int,
        items: int,
        padding: int = 0,
        key: bytes | None = None,
        parent: "Task | None" = None,
        item: int = 0,
    ) -> None:
        self.number = number
        self.operation = operation
        self.pool = pool
        self.deadline = deadline
        self.weight = weight
        self.items = items
        self.key = key
        self.parent = parent
        self.item = item
        self.owed = key is not None and parent is None
        self.body = b"%d %s" % (number, b"." * padding)
        self.expected = msgpack.packb(self.results())
        self.submitter: Any = None
        self.request_id = b""
        self.poison = -1
        self.state = QUEUED
        self.answer: str | None = None
        self.executed = 0
        self.never = 0
        self.handed = 0
        self.retried = False
        self.again: set[int] | None = None
        self.waiting: set[Any] = set()
        self.errors: dict[int, str] = {}
        self.flights: list[int] = []

    def __repr__(self) -> str:
        kind = "owed" if self.owed else "part" if self.parent else "request"
        return f"{kind} {self.number} ({self.operation} x{self.items})"

    def results(self) -> list[int]:
        """What its items come to: no two items of a run have the same result."""
        return [self.number * 64 + item for item in range(self.items)]

    @property
    def root(self) -> "Task":
        return self.parent or self


class HeldDispatch:
    """A dispatch in a worker's hands. tasks: with the one item to execute, or None for all. started: microseconds."""

    __slots__ = ("begun", "live", "number", "operation", "started", "tasks")

    def __init__(self, number: int, operation: str, tasks: list[tuple[Task, int | None]], started: int) -> None:
        self.number = number
        self.operation = operation
        self.tasks = tasks
        self.started = started
        self.begun = False
        self.live: list[tuple[Task, int | None]] = []


class Message:
    """A worker's answer. number: None where its head can't be read. replies: header, body and parts per request.
    sound: whether it is what the protocol says. timed_out: whether it says that the store gave no answer."""

    __slots__ = ("frames", "number", "owed", "replies", "sound", "timed_out")

    def __init__(
        self,
        number: int | None,
        frames: list[Any],
        replies: Sequence[tuple[bytes, bytes, list[Task]]] = (),
        owed: Sequence[Task] = (),
        sound: bool = True,
        timed_out: bool = False,
    ) -> None:
        self.timed_out = timed_out
        self.number = number
        self.frames = frames
        self.replies = replies
        self.owed = owed
        self.sound = sound


@lru_cache(maxsize=4096)
def parse_header(header: bytes) -> tuple[str, str, int, dict[int, tuple[str, str]]]:
    """(code, executed, count, code and executed by item). Raises Violation: nobody is sent what can't be read."""
    try:
        code, executed, _, _, _, count, errors = msgpack.unpackb(header, strict_map_key=False)
        return code, executed, count, {index: (fields[0], fields[1]) for index, fields in errors.items()}
    except Exception as error:
        raise Violation(f"a header that can't be read: {header!r}") from error
