"""What waits for a worker of one pool.

Entries wait by operation, and within an operation by submitter; operations and submitters take turns, so that one who
floods delays the others by a turn, not by the flood. Adding, taking and discarding cost the same however many wait.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final

from .entry import Entry

# Why a batch is as large as it is: it is full; it is all that waited for the operation; it goes alone, once more.
FULL: Final = "full"
ALL: Final = "all"
AGAIN: Final = "again"

# What one submitter has waiting for one operation, in order of arrival.
_Fifo = OrderedDict[Entry, None]


class Queue:
    """weight, bytes: of what waits."""

    def __init__(self) -> None:
        self.weight = 0
        self.bytes = 0
        self._fifos: OrderedDict[str, OrderedDict[Hashable, _Fifo]] = OrderedDict()
        self._waiting: dict[Hashable, int] = {}

    def __bool__(self) -> bool:
        return bool(self._fifos)

    def __iter__(self) -> Iterator[Entry]:
        for fifos in self._fifos.values():
            for fifo in fifos.values():
                yield from fifo

    def waiting_of(self, submitter: Hashable) -> int:
        """The weight of what this submitter has waiting."""
        return self._waiting.get(submitter, 0)

    def add(self, entry: Entry) -> None:
        """The entry waits behind its submitter's others; one that is dispatched again, before them."""
        fifos = self._fifos.setdefault(entry.operation, OrderedDict())
        fifo = fifos.setdefault(entry.submitter, OrderedDict())
        fifo[entry] = None
        if entry.retried:
            fifo.move_to_end(entry, last=False)
        self.weight += entry.weight
        self.bytes += entry.size
        self._waiting[entry.submitter] = self._waiting.get(entry.submitter, 0) + entry.weight

    def discard(self, entry: Entry) -> None:
        """Takes a waiting entry out, wherever in the queue it is."""
        fifos = self._fifos[entry.operation]
        fifo = fifos[entry.submitter]
        del fifo[entry]
        if not fifo:
            del fifos[entry.submitter]
            if not fifos:
                del self._fifos[entry.operation]
        self.weight -= entry.weight
        self.bytes -= entry.size
        waiting = self._waiting[entry.submitter] - entry.weight
        if waiting:
            self._waiting[entry.submitter] = waiting
        else:
            del self._waiting[entry.submitter]

    def oldest(self, now: int) -> int:
        """When the first of those arrived that wait: `now` where none does. Of what one submitter has waiting for one
        operation only the first is looked at, which is the oldest, but for reads that are dispatched again."""
        firsts = (next(iter(fifo)) for fifos in self._fifos.values() for fifo in fifos.values())
        return min((entry.arrived for entry in firsts), default=now)

    def take(self, limit: int) -> tuple[list[Entry], str]:
        """What is handed to one worker: entries of one operation, of `limit` in weight at most; a larger one alone, and
        one that is dispatched again, alone. And why it is no more: FULL, ALL or AGAIN."""
        if not self._fifos:
            return [], ALL
        operation, fifos = next(iter(self._fifos.items()))
        taken: list[Entry] = []
        weight, reason = 0, ALL
        while fifos:
            submitter, fifo = next(iter(fifos.items()))
            entry = next(iter(fifo))
            if taken and (weight + entry.weight > limit or entry.retried):
                reason = ALL if entry.retried else FULL
                break
            self.discard(entry)
            if submitter in fifos:
                fifos.move_to_end(submitter)
            taken.append(entry)
            weight += entry.weight
            if weight >= limit or entry.retried:
                reason = AGAIN if entry.retried else FULL
                break
        if operation in self._fifos:
            self._fifos.move_to_end(operation)
        return taken, reason
