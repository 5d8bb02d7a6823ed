"""What became of the work of one operation: how it was handed out, how long it took, what it was answered.

Nothing here is done for each item. An answer counts once for its request, everything else once for each dispatch.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from broker.reply_headers import Outcome
from protocol.codes import OK

from .histogram import ITEMS, TIMES_US, Histogram


class Work:
    """well_items, well_requests: of requests that were answered, and every item of them was well. reasons: of
    dispatches, how often each. batches: items of each dispatch. queued: microseconds of each request, or part of one,
    from its arrival to a worker. executed: microseconds of each dispatch, from there to its end, whatever that was.
    stored: microseconds of each answered dispatch that calls of the store took."""

    __slots__ = (
        "_items",
        "_requests",
        "batches",
        "executed",
        "operation",
        "pool",
        "queued",
        "reasons",
        "stored",
        "well_items",
        "well_requests",
    )

    def __init__(self, pool: str, operation: str) -> None:
        self.pool = pool
        self.operation = operation
        self.well_items = 0
        self.well_requests = 0
        self._items: Counter[str] = Counter()  # of the other requests, by code
        self._requests: Counter[str] = Counter()
        self.reasons: dict[str, int] = {}
        self.batches = Histogram(ITEMS)
        self.queued = Histogram(TIMES_US)
        self.executed = Histogram(TIMES_US)
        self.stored = Histogram(TIMES_US)

    def answered(self, item_count: int, outcome: Outcome) -> None:
        """A request of so many items has an answer that says that not all is well."""
        self._requests[outcome.code] += 1
        self._items.update(outcome.failed)
        self._items[OK] += item_count - outcome.failed.total()

    def begins(self, reason: str, item_count: int, waits: list[int]) -> None:
        """A dispatch of so many items. waits: for how long each of what it is made of has waited; microseconds."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.batches.counts[bisect_left(ITEMS, item_count)] += 1
        self.batches.sum += item_count
        if len(waits) == 1:
            self.queued.add(waits[0])
        else:
            self.queued.add_all(waits)

    @property
    def items(self) -> int:
        """How many were answered."""
        return self.well_items + self._items.total()

    def answers(self) -> Iterator[tuple[str, int, int]]:
        """Code, items, requests. A request that was executed item by item is one of the code OK, whatever its items
        came to."""
        items, requests = (
            self._items + Counter({OK: self.well_items}),
            self._requests + Counter({OK: self.well_requests}),
        )
        for code in sorted(items | requests):
            yield code, items[code], requests[code]
