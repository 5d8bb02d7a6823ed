"""All that the core counts for those who watch it, and the map that the report has of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from broker.scheduling import POOL_OF_FOLLOW_UP, POOL_OF_REQUEST

from .histogram import BOUNDS, Histogram
from .work import Work


class Figures:
    """works: by operation. refused_items, refused_requests: by pool, empty where none was meant, and code.
    double_results: items that workers completed twice. worker_lines_dropped: of log, by all workers so far."""

    def __init__(self) -> None:
        pools = POOL_OF_REQUEST | POOL_OF_FOLLOW_UP
        self.works = {operation: Work(pool, operation) for operation, pool in pools.items()}
        self.refused_items: Counter[tuple[str, str]] = Counter()
        self.refused_requests: Counter[tuple[str, str]] = Counter()
        self.double_results = 0
        self.worker_lines_dropped = 0

    def refused(self, pool: str, code: str, item_count: int) -> None:
        """A request of so many items was refused on arrival. pool: that its operation is of; empty where it is of
        none."""
        self.refused_items[pool, code] += item_count
        self.refused_requests[pool, code] += 1

    @property
    def items_answered(self) -> int:
        """Of requests that were admitted."""
        return sum(work.items for work in self.works.values())

    def items_refused(self) -> dict[str, int]:
        """By code."""
        by_code: Counter[str] = Counter()
        for (_, code), count in self.refused_items.items():
            by_code[code] += count
        return dict(by_code)

    def as_map(self, counters: Mapping[str, int]) -> dict[str, Any]:
        """The report's `figures`, as far as the core has them. counters: the core's; one that is not there is 0."""
        used = [work for work in self.works.values() if work.reasons or work.items]
        return {
            "bounds": BOUNDS,
            "answers": [
                {**_name(work), "code": code, "items": items, "requests": requests}
                for work in used
                for code, items, requests in work.answers()
            ],
            "refusals": [
                {"pool": pool, "code": code, "items": items, "requests": self.refused_requests[pool, code]}
                for (pool, code), items in self.refused_items.items()
            ],
            "dispatches": [
                {**_name(work), "reason": reason, "count": count}
                for work in used
                for reason, count in work.reasons.items()
            ],
            "queue_seconds": _distributions(used, lambda work: work.queued, Histogram.as_seconds),
            "execution_seconds": _distributions(used, lambda work: work.executed, Histogram.as_seconds),
            "store_seconds": _distributions(used, lambda work: work.stored, Histogram.as_seconds),
            "batch_items": _distributions(used, lambda work: work.batches, Histogram.as_map),
            "late_results": counters.get("late", 0),
            "double_results": self.double_results,
            "undeliverable_items": counters.get("undeliverable", 0),
            "in_doubt": counters.get("in_doubt", 0),
            "lost_requests": counters.get("lost_requests", 0),
            "unreadable_messages": counters.get("unreadable", 0),
        }


def _name(work: Work) -> dict[str, str]:
    return {"pool": work.pool, "operation": work.operation}


def _distributions(
    works: Iterable[Work], which: Callable[[Work], Histogram], as_map: Callable[[Histogram], dict[str, Any]]
) -> list[dict[str, Any]]:
    return [{**_name(work), **as_map(which(work))} for work in works]
