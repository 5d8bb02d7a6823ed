"""What the figures must say: counted a second time, from what was handed out and sent, and held against the core's own,
to the item."""

from collections import Counter
from typing import Any

from broker.core import Core
from broker.pool import PROBE
from broker.queue import AGAIN
from tests.simulation.tasks import OK, HeldDispatch, Task, Violation

_BATCH: str = "full, or all"


class Tally:
    """Of one incarnation of the daemon."""

    def __init__(self) -> None:
        self._items: Counter[tuple[str, str]] = Counter()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[str] = Counter()
        self._dispatches: Counter[tuple[str, str]] = Counter()
        self._entries: Counter[str] = Counter()
        self._weight: Counter[str] = Counter()

    def refused(self, code: str) -> None:
        self._refused[code] += 1

    def handed(self, dispatch: HeldDispatch, is_probe: bool) -> None:
        """A worker is given work. is_probe: its pool's breaker is open."""
        task, only = dispatch.tasks[0]
        reason = PROBE if is_probe else AGAIN if only is not None or task.retried else _BATCH
        self._dispatches[dispatch.operation, reason] += 1
        self._entries[dispatch.operation] += len(dispatch.tasks)
        self._weight[dispatch.operation] += sum(1 if only is not None else task.weight for task, only in dispatch.tasks)

    def answered(self, task: Task, parsed: Any) -> None:
        """A request that was admitted is sent its answer."""
        code, _, _, errors = parsed
        self._requests[task.operation, code] += 1
        if code != OK:
            self._items[task.operation, code] += task.items
            return
        self._items[task.operation, OK] += task.items - len(errors)
        for error, _ in errors.values():
            self._items[task.operation, error] += 1

    def check(self, core: Core, under_way: Counter[str]) -> None:
        """under_way: dispatches in workers' hands, by operation. Raises Violation."""
        works = core.figures.works.values()
        answers = [(work.operation, *answer) for work in works for answer in work.answers()]
        reasons = [
            ((work.operation, reason if reason in (AGAIN, PROBE) else _BATCH), count)
            for work in works
            for reason, count in work.reasons.items()
        ]
        dispatches = Counter({work.operation: sum(work.reasons.values()) for work in works})
        refused: Counter[str] = Counter()
        for (_, code), count in core.figures.refused_requests.items():
            refused[code] += count
        for what, found, expected in (
            ("items", _total(((operation, code), items) for operation, code, items, _ in answers), self._items),
            ("requests", _total(((operation, code), count) for operation, code, _, count in answers), self._requests),
            ("refusals", refused, self._refused),
            ("dispatches", _total(reasons), self._dispatches),
            ("batches", Counter({work.operation: sum(work.batches.counts) for work in works}), dispatches),
            ("items in batches", Counter({work.operation: work.batches.sum for work in works}), self._weight),
            ("waits", Counter({work.operation: sum(work.queued.counts) for work in works}), self._entries),
            ("ends", Counter({work.operation: sum(work.executed.counts) for work in works}), dispatches - under_way),
        ):
            if found != expected:
                raise Violation(f"figures: {what} are {found}, where it should be {expected}")


def _total(counts: Any) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for key, count in counts:
        total[key] += count
    return total
