"""A pool: the workers of one kind, what waits for them, and whether it takes more.

A worker holds one dispatch at a time; to be idle is its credit. Backlog is bounded in items and bytes, and a submitter
may have as much waiting as there is room left: one that floods can fill half of a queue at most, and there is always
room for one that asks now and then (the dynamic threshold of Choudhury and Hahne, 1998, with alpha = 1). While its
circuit breaker is open, a request is refused unless it can go at once as the probe.
"""

from collections.abc import Hashable, Iterator
from typing import Any, Final

from .circuit_breaker import CircuitBreaker
from .entry import Entry
from .queue import Queue
from .scheduling import PoolKind
from .settings import MICROSECONDS, BrokerSettings

# How quickly the estimate of the time per item follows what is measured.
_SMOOTHING: Final = 0.1
_MIN_RETRY_MS: Final = 10
_MAX_RETRY_MS: Final = 5_000
# Why one entry alone is handed out: it is to find out whether the store answers.
PROBE: Final = "probe"


class Dispatch:
    """What one worker holds. weight: of its entries. started: microseconds."""

    __slots__ = ("entries", "number", "operation", "started", "weight")

    def __init__(self, number: int, operation: str, entries: list[Entry], started: int) -> None:
        self.number = number
        self.operation = operation
        self.entries = entries
        self.weight = sum([entry.weight for entry in entries])
        self.started = started


class Worker:
    """One worker, by the identity of its connection. pid: its process. retiring: gets no more work. terminating: is
    about to be ended. lines_dropped: of its log, by its own count. idle_since: when it became ready, or its last
    dispatch ended."""

    __slots__ = ("dispatch", "identity", "idle_since", "lines_dropped", "pid", "pool", "retiring", "terminating")

    def __init__(self, identity: bytes, pool: "Pool", pid: int, now: int) -> None:
        self.identity = identity
        self.pid = pid
        self.pool = pool
        self.dispatch: Dispatch | None = None
        self.retiring = False
        self.terminating = False
        self.lines_dropped = 0
        self.idle_since = now


class Pool:
    """workers: those that have given a credit, and are not lost, by identity. idle: those of them that can be handed
    a dispatch, in the order in which they are. queue: what waits for one. dispatches, dispatched: how many were handed
    out, and their items. Times are microseconds."""

    def __init__(self, name: str, kind: PoolKind, settings: BrokerSettings, now: int) -> None:
        self.name = name
        self.kind = kind
        self.queue = Queue()
        self.breaker = CircuitBreaker(int(settings.probe_seconds * MICROSECONDS), now)
        self.workers: dict[bytes, Worker] = {}
        self.idle: dict[Worker, None] = {}
        self._workerless_since: int | None = now
        self._us_per_item = 0.0
        self.dispatches = 0
        self.dispatched = 0
        self.change(settings)

    def change(self, settings: BrokerSettings) -> None:
        """How much may wait here, and for how long, from now on; what waits already stays."""
        self._queue_items = settings.queue_items
        self._queue_bytes = settings.queue_bytes
        self._workerless_us = int(settings.workerless_seconds * MICROSECONDS)
        self.breaker.pause = int(settings.probe_seconds * MICROSECONDS)

    def has_room(self, submitter: Hashable, weight: int, size: int) -> bool:
        """Whether a request of `weight` items and `size` bytes may wait here. An empty queue takes any request."""
        queue = self.queue
        if not queue:
            return True
        free = self._queue_items - queue.weight
        return queue.waiting_of(submitter) + weight <= free and queue.bytes + size <= self._queue_bytes

    def retry_after_ms(self) -> int:
        """When the present queue should be done, by the rate of late; milliseconds."""
        workers = max(1, len(self.workers))
        estimate = self.queue.weight * self._us_per_item / workers / 1000
        return int(min(max(estimate, _MIN_RETRY_MS), _MAX_RETRY_MS))

    def observe(self, dispatch: Dispatch, now: int) -> None:
        """A dispatch ended well: it tells the pool's rate."""
        us_per_item = (now - dispatch.started) / max(1, dispatch.weight)
        self._us_per_item += _SMOOTHING * (us_per_item - self._us_per_item)

    def add_worker(self, worker: Worker) -> None:
        """The worker is not idle yet: whoever adds it gives it its credit."""
        self.workers[worker.identity] = worker
        self._workerless_since = None

    def remove_worker(self, worker: Worker, now: int) -> None:
        """The worker is lost. From the last one on the pool counts as workerless."""
        del self.workers[worker.identity]
        self.idle.pop(worker, None)
        if not self.workers:
            self._workerless_since = now

    @property
    def serves(self) -> bool:
        """Whether it has a worker, and its store answers."""
        return bool(self.workers) and not self.breaker.is_open

    def is_workerless_for_too_long(self, now: int) -> bool:
        """Whether it has been without a worker for longer than its items may be kept waiting."""
        return self._workerless_since is not None and now - self._workerless_since > self._workerless_us

    def take(self, batch_limit: int, now: int) -> tuple[list[Entry], str]:
        """What is handed to an idle worker next; while the breaker is open, one entry as a probe. And why it is no
        more: as of the queue, or PROBE."""
        if not self.breaker.is_open:
            return self.queue.take(batch_limit)
        return (self.queue.take(1)[0] if self.breaker.allow(now, self._starts()) else []), PROBE

    def refuses(self, now: int) -> bool:
        """Whether the open breaker refuses a request: all but one that can go at once as the probe."""
        return self.breaker.is_open and (bool(self.queue) or not self.breaker.allow(now, self._starts()))

    def _starts(self) -> Iterator[int]:
        """When each dispatch that is under way began."""
        return (worker.dispatch.started for worker in self.workers.values() if worker.dispatch is not None)

    def report(self, now: int) -> dict[str, Any]:
        """What `utxod status` shows of the pool."""
        return {
            "workers": len(self.workers),
            "idle": len(self.idle),
            "queued": self.queue.weight,
            "queued_bytes": self.queue.bytes,
            "in_flight": sum(worker.dispatch.weight for worker in self.workers.values() if worker.dispatch),
            "dispatches": self.dispatches,
            "dispatched": self.dispatched,
            "breaker": "open" if self.breaker.is_open else "closed",
            "breaker_trips": self.breaker.trips,
            "oldest_seconds": _seconds(now - self.queue.oldest(now)),
            "longest_seconds": _seconds(now - min(self._starts(), default=now)),
            "queue_items": self._queue_items,
            "queue_bytes": self._queue_bytes,
        }


def _seconds(microseconds: int) -> float:
    return round(microseconds / MICROSECONDS, 3)
