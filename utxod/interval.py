"""What happened between two reports of a daemon: counts, rates, and quantiles, from the differences of what is counted.

Where the daemon was started anew between the two, it is what happened since that start: nothing is ever negative.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Report = Mapping[str, Any]

# What tells the rows of a table apart; the rest of a row is counted.
_LABELS: Final = ("pool", "operation", "code", "reason", "cause")


@dataclass(frozen=True, slots=True)
class Histogram:
    """bounds: upper ones, ascending. counts: one more than these, for what is beyond. sum: of all values."""

    bounds: Sequence[float]
    counts: Sequence[int]
    sum: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """0.0 where nothing was counted."""
        return self.sum / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """What that share of all values is at most, as if they lay evenly within a bucket: the last bound where it is
        beyond, 0.0 where nothing was counted."""
        wanted, below = share * self.count, 0
        for index, count in enumerate(self.counts[:-1]):
            if count and below + count >= wanted:
                lower = self.bounds[index - 1] if index else 0.0
                return lower + (self.bounds[index] - lower) * (wanted - below) / count
            below += count
        return float(self.bounds[-1]) if below < self.count else 0.0

    def beyond(self, bound: float) -> int:
        """How many values lie beyond a bound, one of its own."""
        return sum(self.counts[list(self.bounds).index(bound) + 1 :])


class Interval:
    """before, after: the reports; `before` is None where `after` is of another start of the daemon. seconds: between
    them, 0.0 where they are the same."""

    def __init__(self, before: Report, after: Report) -> None:
        self.before = before if before["epoch"] == after["epoch"] else None
        self.after = after
        since = self.before["uptime_seconds"] if self.before else 0.0
        self.seconds: float = max(0.0, after["uptime_seconds"] - since)

    @classmethod
    def since_start(cls, report: Report) -> "Interval":
        """All that the daemon has counted."""
        return cls({"epoch": None}, report)

    @property
    def reports(self) -> Sequence[Report]:
        """Both, or the one that is of this start of the daemon."""
        return [self.before, self.after] if self.before else [self.after]

    def rate(self, count: float) -> float:
        """A second."""
        return count / self.seconds if self.seconds else 0.0

    def number(self, *path: str) -> int:
        """By how much a number in the reports has grown, as in number("figures", "in_doubt")."""
        return int(_at(self.after, path) - (_at(self.before, path) if self.before else 0))

    def count(self, table: str, field: str, **labels: str) -> int:
        """By how much a field has grown in all rows of a table of the figures that have these labels."""
        return sum(row[field] for row in self._rows(table, labels))

    def counts(self, table: str, field: str, by: str, **labels: str) -> dict[str, int]:
        """The same for each value of another label that has grown, the greatest first."""
        grown: dict[str, int] = {}
        for row in self._rows(table, labels):
            grown[row[by]] = grown.get(row[by], 0) + row[field]
        return {name: count for name, count in sorted(grown.items(), key=lambda pair: -pair[1]) if count}

    def histogram(self, table: str, **labels: str) -> Histogram:
        """What was counted in all rows of a table of histograms that have these labels."""
        bounds = self.after["figures"]["bounds"]["items" if table.endswith("_items") else "seconds"]
        counts, total = [0] * (len(bounds) + 1), 0.0
        for row in self._rows(table, labels):
            counts = [sum(pair) for pair in zip(counts, row["counts"], strict=True)]
            total += row["sum"]
        return Histogram(bounds, counts, total)

    def _rows(self, table: str, labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The rows with these labels, with what they have grown by."""
        before = {_labels(row): row for row in _table(self.before, table)} if self.before else {}
        for row in _table(self.after, table):
            if all(row.get(name) == value for name, value in labels.items()):
                yield _grown(before.get(_labels(row)), row)


def _at(report: Report, path: Sequence[str]) -> Any:
    value: Any = report
    for name in path:
        value = value[name]
    return value


def _table(report: Report, table: str) -> Sequence[Mapping[str, Any]]:
    """A histogram that is one of its kind is a table of one row."""
    found = report["figures"][table]
    return [found] if isinstance(found, Mapping) else found


def _labels(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in _LABELS)


def _grown(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, Any]:
    grown = dict(after)
    for name, value in after.items():
        if before is not None and name not in _LABELS:
            earlier = before[name]
            is_list = isinstance(value, list)
            grown[name] = [a - b for a, b in zip(value, earlier, strict=True)] if is_list else value - earlier
    return grown
