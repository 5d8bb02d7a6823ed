"""What it costs to admit, hand out, answer and sweep an item while a million of them are pending in the ledger.

The broker's core alone, in a process of its own for each round; half of the items are answered by a worker, the others
expire. Pauses of Python's collector are measured where the ledger is full, and where the daemon lets it run.
"""

import gc
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

import psutil

from broker.collector import COLLECT_BELOW
from broker.core import Core
from broker.decoding import from_submitter, from_worker
from broker.events import WorkerReady
from broker.scheduling import READ_POOL
from broker.settings import BrokerSettings
from protocol import wire
from protocol.wire import RequestHeader
from protocol.worker_wire import DONE, pack_done

from .report import Figure, Report

ITEM_GOAL_US: Final = 5.0
SWEEP_GOAL_MS: Final = 50.0
SLICE_GOAL_MS: Final = 200.0
EACH_ONCE: Final = "each request was answered once, and nothing was left"

_EPOCH: Final = 7
_NOW: Final = 1_000_000
_LAST_DEADLINE: Final = _NOW + 10_000_000
_SUBMITTERS: Final = 16
_ITEM_BYTES: Final = 40
_SETTINGS: Final = BrokerSettings(queue_items=1 << 40, queue_bytes=1 << 40)

# (name of the figure, unit, goal)
_FIGURES: Final = (
    ("admit", "us/item", ITEM_GOAL_US),
    ("hand out", "us/item", ITEM_GOAL_US),
    ("answer", "us/item", ITEM_GOAL_US),
    ("sweep, all due", "us/item", ITEM_GOAL_US),
    ("sweep, all due, at one go", "ms", SLICE_GOAL_MS),
    ("sweep, nothing due", "ms", SWEEP_GOAL_MS),
    ("memory beside the body", "bytes/item", None),
    ("collection of all, which the daemon avoids", "ms", None),
    (f"collection below {COLLECT_BELOW:,} requests, as the daemon's", "ms", SWEEP_GOAL_MS),
)


def ledger(items: int, rounds: int) -> Report:
    """items: pending at once. Measured with requests of one item, and of 100."""
    report = Report("ledger")
    for per_request in (1, 100):
        rounds_measured: list[list[float]] = []
        for _ in range(rounds):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                values, held = process.submit(_measure, items, per_request).result()
            rounds_measured.append(values)
            report.promise(EACH_ONCE, held)
        for (name, unit, goal), *found in zip(_FIGURES, *rounds_measured, strict=True):
            report.figures.append(
                Figure(f"requests of {per_request}: {name}", found, unit, goal, higher_is_better=False)
            )
    return report


def _measure(items: int, per_request: int) -> tuple[list[float], bool]:
    """The values of `_FIGURES`, and whether each request was answered once and nothing was left."""
    gc.disable()
    requests = items // per_request
    small = _collection_over(min(COLLECT_BELOW, requests), per_request)
    core = Core(_SETTINGS, _EPOCH, _NOW)
    messages = [_message(number, per_request) for number in range(requests)]
    gc.collect()
    before = psutil.Process().memory_info().rss
    admitting = _time(lambda: _admit(core, messages))
    memory = max(0, psutil.Process().memory_info().rss - before)  # the kernel may have taken pages away meanwhile
    large = _time(gc.collect)
    idle = _time(lambda: core.sweep(_NOW))
    handing, answering, answered = _answer(core, items // 2)
    left = items - answered
    core.workers.clear()
    slices = _slices(lambda: core.sweep(_LAST_DEADLINE))
    counters = core.report(_LAST_DEADLINE)["counters"]
    held = counters["admitted"] == counters["answered"] == requests * per_request and not len(core.ledger)
    per_item = [admitting / items, handing / answered, answering / answered, sum(slices) / left]
    values = [
        *[value * 1e6 for value in per_item],
        max(slices) * 1e3,
        idle * 1e3,
        memory / items,
        large * 1e3,
        small * 1e3,
    ]
    return values, held and not any(pool.queue for pool in core.pools.values())


def _collection_over(requests: int, per_request: int) -> float:
    core = Core(_SETTINGS, _EPOCH, _NOW)
    _admit(core, [_message(number, per_request) for number in range(requests)])
    return _time(gc.collect)


def _message(number: int, per_request: int) -> tuple[bytes, ...]:
    deadline = _NOW + 1 + number % (_LAST_DEADLINE - _NOW)
    return (
        wire.pack_prefix(wire.REQUEST, number.to_bytes(wire.REQUEST_ID_BYTES, "little")),
        wire.pack_request_header(RequestHeader(_EPOCH, "get", deadline, per_request, 0)),
        bytes(_ITEM_BYTES * per_request),
    )


def _admit(core: Core, messages: list[tuple[bytes, ...]]) -> None:
    submitters = [(0, b"submitter %d" % number) for number in range(_SUBMITTERS)]
    for number, message in enumerate(messages):
        core.handle(from_submitter(submitters[number % _SUBMITTERS], message), _NOW)


def _answer(core: Core, items: int) -> tuple[float, float, int]:
    """Has a worker answer that many items at least: seconds to hand out, seconds to answer, items."""
    core.handle(WorkerReady(b"worker", READ_POOL), _NOW)
    handing = answering = 0.0
    answered = 0
    while answered < items:
        core.actions.clear()
        handing += _time(lambda: core.dispatch(_NOW))
        dispatch = core.workers[b"worker"].dispatch
        if dispatch is None:
            break
        reply = [wire.ok_header(dispatch.entries[0].item_count), wire.EMPTY_BODY]
        frames = [DONE, pack_done(dispatch.number, []), *reply * len(dispatch.entries)]
        answering += _time(lambda frames=frames: core.handle(from_worker(b"worker", frames), _NOW))  # type: ignore[misc]
        answered += dispatch.weight
    return handing, answering, answered


def _slices(sweep: Callable[[], bool]) -> list[float]:
    """Sweeps until nothing is due; the seconds of each."""
    slices = []
    goes_on = True
    while goes_on:
        started = time.process_time()
        goes_on = sweep()
        slices.append(time.process_time() - started)
    return slices


def _time(what: Callable[[], object]) -> float:
    """Seconds of this process: what others use of the machine does not count."""
    started = time.process_time()
    what()
    return time.process_time() - started
