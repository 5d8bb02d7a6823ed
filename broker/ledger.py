"""The ledger: every request and follow-up that is owed an answer, and by when.

An entry is in the ledger from its admission to its answer, and nowhere else afterwards: its removal is what makes a
second answer impossible. Deadlines are kept in buckets as wide as a sweep, so that adding, removing and sweeping cost
the same however many are pending, and nothing of an answered entry stays behind until its deadline.
"""

import heapq
from collections.abc import Hashable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .fan_in import Join

# A body as it came off the wire, bytes or a ZeroMQ frame: passed on uncopied and unread; only its length is asked for.
Body = Any

# An entry's state: where it is, and so who is to answer for it.
QUEUED: Final = 0  # in a pool's queue: nobody has touched it
DISPATCHED: Final = 1  # in a worker's hands
JOINING: Final = 2  # its answer waits for parts: follow-ups, or reads that are dispatched again
DONE: Final = 3  # answered, and out of the ledger

NEVER: Final = 0  # the deadline of owed work


class Entry:
    """One request, or one part of the work for a request, or one piece of owed work.

    submitter: who gets the answer; None for a part and for owed work. deadline: microseconds; NEVER for owed work.
    count: items, the weight in a batch. size: bytes it adds to the backlog. parent, item: the entry whose answer waits
    for this part, and the item of it that fails where the part does. key: of the record that owed
    work is about, told where its outcome is not known. only: the one item of the body to execute, or None for all.
    retried: lost a worker once already. join: what the answer waits for.
    """

    __slots__ = (
        "body",
        "count",
        "deadline",
        "flags",
        "item",
        "join",
        "key",
        "only",
        "operation",
        "parent",
        "pool",
        "request_id",
        "retried",
        "size",
        "state",
        "submitter",
    )

    def __init__(
        self,
        *,
        operation: str,
        pool: str,
        deadline: int,
        count: int,
        body: Body,
        submitter: Hashable = None,
        request_id: bytes = b"",
        flags: int = 0,
        parent: "Entry | None" = None,
        item: int = 0,
        key: bytes | None = None,
        only: int | None = None,
    ) -> None:
        self.operation = operation
        self.pool = pool
        self.deadline = deadline
        self.count = count
        self.body = body
        self.size = len(body) if only is None else 0
        self.submitter = submitter
        self.request_id = request_id
        self.flags = flags
        self.parent = parent
        self.item = item
        self.key = key
        self.only = only
        self.retried = only is not None
        self.join: Join | None = None
        self.state = QUEUED

    @property
    def owed(self) -> bool:
        return self.deadline == NEVER

    @property
    def items(self) -> int:
        """Items in the body: work that follows from work is one, however many records it weighs."""
        return 1 if self.submitter is None else self.count


class Ledger:
    """All entries that are not yet answered, by deadline."""

    def __init__(self, bucket_us: int) -> None:
        self._bucket_us = bucket_us
        self._buckets: dict[int, dict[Entry, None]] = {}
        self._order: list[int] = []
        self._owed: dict[Entry, None] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        for bucket in self._buckets.values():
            yield from bucket
        yield from self._owed

    def add(self, entry: Entry) -> None:
        self._bucket_of(entry)[entry] = None
        self._count += 1

    def discard(self, entry: Entry) -> None:
        """Takes the entry out, where `take_expired` has not done so before."""
        bucket = self._owed if entry.deadline == NEVER else self._buckets.get(entry.deadline // self._bucket_us)
        if bucket is not None and entry in bucket:
            del bucket[entry]
            self._count -= 1
            if not bucket:
                bucket.clear()  # gives the room of those that were in it back now, and not at their deadline

    def take_expired(self, now: int, most: int) -> list[Entry]:
        """Removes and returns the entries whose deadline has come at `now` (microseconds), up to so many."""
        current = now // self._bucket_us
        found: list[Entry] = []
        while self._order and self._order[0] <= current and len(found) < most:
            number = self._order[0]
            bucket = self._buckets[number]
            due = list(islice((entry for entry in bucket if entry.deadline <= now), most - len(found)))
            for entry in due:
                del bucket[entry]
            found += due
            if not bucket:
                del self._buckets[heapq.heappop(self._order)]
            elif number == current:
                break
        self._count -= len(found)
        return found

    def _bucket_of(self, entry: Entry) -> dict[Entry, None]:
        if entry.deadline == NEVER:
            return self._owed
        number = entry.deadline // self._bucket_us
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heapq.heappush(self._order, number)
        return bucket
