"""What waits for a worker of one pool.

Entries wait by operation, and within an operation by submitter; operations and submitters take turns, so that one who
floods delays the others by a turn, not by the flood. Adding, taking and discarding cost the same however many wait.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator

from .ledger import Entry

# What one submitter has waiting for one operation, in order of arrival.
_Line = OrderedDict[Entry, None]


class Queue:
    """items, bytes: what waits."""

    def __init__(self) -> None:
        self.items = 0
        self.bytes = 0
        self._lines: OrderedDict[str, OrderedDict[Hashable, _Line]] = OrderedDict()
        self._held: dict[Hashable, int] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[Entry]:
        for lines in self._lines.values():
            for line in lines.values():
                yield from line

    def held_by(self, submitter: Hashable) -> int:
        """Items this submitter has waiting."""
        return self._held.get(submitter, 0)

    def add(self, entry: Entry) -> None:
        lines = self._lines.setdefault(entry.operation, OrderedDict())
        line = lines.setdefault(entry.submitter, OrderedDict())
        line[entry] = None
        if entry.retried:
            line.move_to_end(entry, last=False)
        self.items += entry.count
        self.bytes += entry.size
        self._held[entry.submitter] = self._held.get(entry.submitter, 0) + entry.count

    def discard(self, entry: Entry) -> None:
        """Takes a waiting entry out, wherever in the queue it is."""
        lines = self._lines[entry.operation]
        line = lines[entry.submitter]
        del line[entry]
        if not line:
            del lines[entry.submitter]
            if not lines:
                del self._lines[entry.operation]
        self.items -= entry.count
        self.bytes -= entry.size
        held = self._held[entry.submitter] - entry.count
        if held:
            self._held[entry.submitter] = held
        else:
            del self._held[entry.submitter]

    def take(self, limit: int) -> list[Entry]:
        """What is handed to one worker: entries of one operation, `limit` items at most; a larger one alone, and one
        that is dispatched again, alone."""
        if not self._lines:
            return []
        operation, lines = next(iter(self._lines.items()))
        taken: list[Entry] = []
        items = 0
        while lines:
            submitter, line = next(iter(lines.items()))
            entry = next(iter(line))
            if taken and (items + entry.count > limit or entry.retried):
                break
            self.discard(entry)
            if submitter in lines:
                lines.move_to_end(submitter)
            taken.append(entry)
            items += entry.count
            if items >= limit or entry.retried:
                break
        if operation in self._lines:
            self._lines.move_to_end(operation)
        return taken
