"""A histogram with fixed bounds: what is added is kept as one count and a sum, and costs the same however much was."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Final

_MICROSECONDS: Final = 1_000_000

# 1, 2 and 5 of each power of ten, as people read them: 0.1 ms to 50 s, and 1 item to the largest batch that there is.
TIMES_US: Final = tuple(digit * 10**power for power in range(2, 8) for digit in (1, 2, 5))
ITEMS: Final = (*(digit * 10**power for power in range(5) for digit in (1, 2, 5)), 100_000)
BOUNDS: Final = {"seconds": [bound / _MICROSECONDS for bound in TIMES_US], "items": list(ITEMS)}


class Histogram:
    """bounds: the greatest value of each bucket, ascending. counts: one more than bounds, for what is beyond the last.
    sum: of what was added."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[int]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0

    def add(self, value: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add_all(self, values: list[int]) -> None:
        """values: one at least. For many that are close to one another, as those of one moment are,
        this takes a fraction of adding each: only the few buckets that they fall into are looked for."""
        values = sorted(values)  # others may have the list, in its order
        bounds, counts = self.bounds, self.counts
        bucket, last, done = bisect_left(bounds, values[0]), bisect_left(bounds, values[-1]), 0
        while bucket < last:
            beyond = bisect_right(values, bounds[bucket], done)
            counts[bucket] += beyond - done
            bucket, done = bucket + 1, beyond
        counts[last] += len(values) - done
        self.sum += sum(values)

    def as_map(self) -> dict[str, Any]:
        """Counts and sum, as they are: a copy."""
        return {"counts": self.counts.copy(), "sum": self.sum}

    def as_seconds(self) -> dict[str, Any]:
        """The same of microseconds, with the sum in seconds."""
        return {"counts": self.counts.copy(), "sum": self.sum / _MICROSECONDS}
