"""A daemon's reports (the answers to STATUS), made by hand: of one that has served a steady load for some time, whole
and consistent with each other, so that two of them give rates; and with whatever trouble a test puts into one."""

import bisect
import copy
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

SECONDS_BOUNDS: Final = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
]  # fmt: skip
ITEMS_BOUNDS: Final = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
STARTED_AT: Final = 1_700_000_000.0


class _Work(NamedTuple):
    """share: of all items. batch: items in a dispatch. The rest: seconds of one, as is typical."""

    pool: str
    operation: str
    share: float
    batch: int
    queue: float
    execution: float
    store: float


_WORK: Final = (
    _Work("read", "get", 0.3, 40, 0.0008, 0.004, 0.003),
    _Work("read", "outpoint", 0.1, 20, 0.0008, 0.003, 0.002),
    _Work("write", "create", 0.1, 60, 0.003, 0.02, 0.015),
    _Work("write", "spend", 0.4, 150, 0.003, 0.03, 0.024),
    _Work("children", "note_child", 0.1, 10, 0.0004, 0.002, 0.0015),
)
_REASONS: Final = (("all", 0.9), ("full", 0.1))
_CODES: Final = (("OK", 0.985), ("SPENT", 0.01), ("TX_NOT_FOUND", 0.004), ("DEADLINE_EXCEEDED", 0.001))
_PIDS: Final = {"read": 4101, "write": 4102, "children": 4103}


def report(seconds: float = 600.0, items_per_second: float = 20_000.0) -> dict[str, Any]:
    """What a daemon in good health says after so many seconds of such a load; 0 items: of one that nobody asks. What is
    counted grows with either."""
    items = seconds * items_per_second
    is_busy = items_per_second > 0
    dispatches = sum(_dispatches(items, work) for work in _WORK)
    return {
        "version": "0.1.0",
        "pid": 4100,
        "uptime_seconds": seconds,
        "started_at": STARTED_AT,
        "longest_standstill_seconds": 0.012,
        "store": "lmdb:///var/lib/utxod",
        "listen": ["ipc:///run/utxod/utxod.sock", "tcp://127.0.0.1:9463"],
        "administration": "/var/lib/utxod/state/admin-4100.sock",
        "metrics": "127.0.0.1:9464",
        "state": "/var/lib/utxod/state",
        "epoch": (1 << 62) + 12_345,
        "draining": False,
        "pending": 3 if is_busy else 0,
        "owed": 12 if is_busy else 0,
        "pools": {pool: _pool(pool, items, is_busy) for pool in _PIDS},
        "counters": {"dispatches": dispatches, "dispatched": round(items)} if is_busy else {},
        "processes": [
            {
                "pid": pid,
                "pool": pool,
                "memory_bytes": 34_000_000,
                "state": "busy" if is_busy else "ready",
                "since_seconds": 0.004 if is_busy else seconds,
            }
            for pool, pid in _PIDS.items()
        ],
        "submitters": 4 if is_busy else 0,
        "descriptors": {"open": 48, "limit": 1_048_576},
        "log_lines_dropped": {"daemon": 0, "workers": 0},
        "settings": {
            "broker.batch_limit": 1000,
            "broker.budget_seconds": 5.0,
            "broker.grace_seconds": 1.0,
            "broker.owed_items": 50_000,
            "broker.probe_seconds": 1.0,
            "broker.queue_bytes": 1 << 29,
            "broker.queue_items": 200_000,
            "broker.sweep_seconds": 0.05,
            "broker.workerless_seconds": 5.0,
            "workers.children": 1,
            "workers.read": 1,
            "workers.write": 1,
        },
        "figures": _figures(seconds, items),
    }


def changed(report: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with other values. changes: dotted path (numbers: places in lists) -> value, as in pools.write.breaker."""
    copied = copy.deepcopy(dict(report))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = copied
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[int(last) if isinstance(place, list) else last] = value
    return copied


def _pool(pool: str, items: float, is_busy: bool) -> dict[str, Any]:
    works = [work for work in _WORK if work.pool == pool]
    return {
        "workers": 1,
        "workers_wanted": 1,
        "idle": 0 if is_busy else 1,
        "queued": 60 if is_busy else 0,
        "queued_bytes": 6_000 if is_busy else 0,
        "queue_items": 200_000,
        "queue_bytes": 1 << 29,
        "oldest_seconds": 0.002 if is_busy else 0.0,
        "longest_seconds": 0.004 if is_busy else 0.0,
        "in_flight": 40 if is_busy else 0,
        "dispatches": sum(_dispatches(items, work) for work in works),
        "dispatched": sum(round(items * work.share) for work in works),
        "breaker": "closed",
        "breaker_trips": 0,
    }


def _figures(seconds: float, items: float) -> dict[str, Any]:
    works = _WORK if items else ()
    sweeps = round(seconds / 0.05)
    return {
        "bounds": {"seconds": SECONDS_BOUNDS, "items": ITEMS_BOUNDS},
        "answers": [
            {
                "pool": work.pool,
                "operation": work.operation,
                "code": code,
                "items": round(items * work.share * share),
                "requests": round(items * work.share * share / 10),
            }
            for work in works
            if work.operation != "note_child"
            for code, share in _CODES
        ],
        "refusals": [{"pool": "write", "code": "OVERLOADED", "items": 20, "requests": 2}] if items else [],
        "dispatches": [
            {
                "pool": work.pool,
                "operation": work.operation,
                "reason": reason,
                "count": round(_dispatches(items, work) * share),
            }
            for work in works
            for reason, share in _REASONS
        ],
        "queue_seconds": [_histogram(work, round(items * work.share), work.queue, SECONDS_BOUNDS) for work in works],
        "execution_seconds": [
            _histogram(work, _dispatches(items, work), work.execution, SECONDS_BOUNDS) for work in works
        ],
        "store_seconds": [_histogram(work, _dispatches(items, work), work.store, SECONDS_BOUNDS) for work in works],
        "batch_items": [_histogram(work, _dispatches(items, work), work.batch, ITEMS_BOUNDS) for work in works],
        "sweep_lateness_seconds": _spread(sweeps, 0.0002, SECONDS_BOUNDS),
        "sweeps": sweeps,
        "worker_starts": [{"pool": pool, "count": 1} for pool in _PIDS],
        "worker_exits": [],
        "late_results": 0,
        "double_results": 0,
        "undeliverable_items": 0,
        "in_doubt": 0,
        "lost_requests": 0,
        "unreadable_messages": 0,
        "receipts": {"dropped": 0},
    }


def _dispatches(items: float, work: _Work) -> int:
    return round(items * work.share / work.batch)


def _histogram(work: _Work, count: int, typical: float, bounds: list[Any]) -> dict[str, Any]:
    return {"pool": work.pool, "operation": work.operation, **_spread(count, typical, bounds)}


def _spread(count: int, typical: float, bounds: list[Any]) -> dict[str, Any]:
    """A histogram (not cumulative; one count more than bounds): most at what is typical, some below, a few above."""
    counts = [0] * (len(bounds) + 1)
    place = bisect.bisect_left(bounds, typical)
    counts[max(0, place - 1)] += count // 5
    counts[min(len(bounds), place + 1)] += count // 50
    counts[place] += count - sum(counts)
    return {"counts": counts, "sum": count * typical}
