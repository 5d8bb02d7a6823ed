"""A pool: the workers of one kind, what waits for them, and whether it takes more.

A worker holds one dispatch at a time; to be idle is its credit. Backlog is bounded in items and bytes, and a submitter
may have as much waiting as there is room left: one that floods can fill half of a queue at most, and there is always
room for one that asks now and then (the dynamic threshold of Choudhury and Hahne, 1998, with alpha = 1). A pool whose
dispatch wedged is *open*: one probe at a time, everything else is refused, until a probe succeeds.
"""

from collections.abc import Hashable
from typing import Any, Final

from protocol.operations import PoolKind

from .ledger import Entry
from .queue import Queue

# How quickly the estimate of the time per item follows what is measured.
_SMOOTHING: Final = 0.1
_MIN_RETRY_MS: Final = 10
_MAX_RETRY_MS: Final = 5_000


class Dispatch:
    """What one worker holds. started: microseconds."""

    __slots__ = ("entries", "items", "number", "operation", "started")

    def __init__(self, number: int, operation: str, entries: list[Entry], started: int) -> None:
        self.number = number
        self.operation = operation
        self.entries = entries
        self.items = sum(entry.count for entry in entries)
        self.started = started


class Worker:
    """One worker, by the identity of its connection. retiring: gets no more work. terminating: is about to be ended."""

    __slots__ = ("dispatch", "identity", "pid", "pool", "retiring", "terminating")

    def __init__(self, identity: bytes, pid: int, pool: "Pool") -> None:
        self.identity = identity
        self.pid = pid
        self.pool = pool
        self.dispatch: Dispatch | None = None
        self.retiring = False
        self.terminating = False


class Pool:
    def __init__(
        self, name: str, kind: PoolKind, *, queue_items: int, queue_bytes: int, deserted_us: int, now: int
    ) -> None:
        self.name = name
        self.kind = kind
        self.queue = Queue()
        self.workers: dict[bytes, Worker] = {}
        self.idle: dict[Worker, None] = {}
        self._deserted_us = deserted_us
        self._workerless_since: int | None = now
        self.open_since: int | None = None
        self.probe_at = 0
        self._turned = now  # when the breaker opened or closed last
        self._queue_items = queue_items
        self._queue_bytes = queue_bytes
        self._us_per_item = 0.0

    def has_room(self, submitter: Hashable, count: int, size: int) -> bool:
        """Whether `count` items of `size` bytes may join the queue. An empty queue takes any request."""
        queue = self.queue
        if not queue:
            return True
        free = self._queue_items - queue.items
        return queue.held_by(submitter) + count <= free and queue.bytes + size <= self._queue_bytes

    def retry_after_ms(self) -> int:
        """When the present queue should be done, by the rate of late; milliseconds."""
        workers = max(1, len(self.workers))
        estimate = self.queue.items * self._us_per_item / workers / 1000
        return int(min(max(estimate, _MIN_RETRY_MS), _MAX_RETRY_MS))

    def observe(self, dispatch: Dispatch, now: int) -> None:
        """A dispatch ended well: it tells the pool's rate."""
        us_per_item = (now - dispatch.started) / max(1, dispatch.items)
        self._us_per_item += _SMOOTHING * (us_per_item - self._us_per_item)

    def add_worker(self, worker: Worker) -> None:
        self.workers[worker.identity] = worker
        self._workerless_since = None

    def remove_worker(self, worker: Worker, now: int) -> None:
        del self.workers[worker.identity]
        self.idle.pop(worker, None)
        if not self.workers:
            self._workerless_since = now

    @property
    def serves(self) -> bool:
        """Whether it has a worker, and its store answers."""
        return bool(self.workers) and self.open_since is None

    def is_deserted(self, now: int) -> bool:
        """Whether it has been without a worker for longer than its items may be kept waiting."""
        return self._workerless_since is not None and now - self._workerless_since > self._deserted_us

    def take(self, batch_limit: int, now: int) -> list[Entry]:
        """The next batch for an idle worker; while the breaker is open, one entry as a probe."""
        if self.open_since is None:
            return self.queue.take(batch_limit)
        return self.queue.take(1) if self._may_probe(now) else []

    def open(self, now: int, probe_us: int) -> None:
        """A dispatch wedged, or a probe was lost: the next probe may go `probe_us` from now."""
        if self.open_since is None:
            self.open_since = self._turned = now
        self.probe_at = now + probe_us

    def close(self, dispatch: Dispatch, now: int) -> None:
        """A dispatch ended well: where it was begun after the breaker opened, the store is back."""
        if self.open_since is not None and dispatch.started >= self.open_since:
            self.open_since = None
            self._turned = now

    def is_news(self, dispatch: Dispatch) -> bool:
        """Whether what became of the dispatch tells of the store as it is: it began after the breaker turned last."""
        return dispatch.started >= self._turned

    def refuses(self, now: int) -> bool:
        """Whether the open breaker refuses a request: all but one that can go at once as the probe."""
        return self.open_since is not None and (bool(self.queue) or not self._may_probe(now))

    def _may_probe(self, now: int) -> bool:
        return now >= self.probe_at and not any(
            worker.dispatch is not None and worker.dispatch.started >= (self.open_since or 0)
            for worker in self.workers.values()
        )

    def report(self) -> dict[str, Any]:
        """What `utxod status` shows of the pool."""
        return {
            "workers": len(self.workers),
            "idle": len(self.idle),
            "queued": self.queue.items,
            "queued_bytes": self.queue.bytes,
            "in_flight": sum(worker.dispatch.items for worker in self.workers.values() if worker.dispatch),
            "breaker": "closed" if self.open_since is None else "open",
        }
