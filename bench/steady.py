"""Half of what the daemon can carry, for as long as you like: how long callers wait, and whether its memory grows.

Calls come at their times whether or not those before were answered, and each is measured from the time at which it was
to come: a caller that was held up counts as one that waited. A create, two gets and a spend, in turn; the embedded
store, not synced to disk.
"""

import asyncio
import gc
import itertools
import time
from array import array
from collections import deque
from collections.abc import Callable
from statistics import linear_regression
from threading import Event, Thread
from typing import Any, Final

from protocol import AsyncClient, UtxodError
from store.transaction import Transaction
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED_UNSYNCED, own_daemon

from .footprint import footprint
from .load import PATIENT_SECONDS, SINGLE_CALLERS
from .report import RIGHT, Figure, Report

TAIL_GOAL: Final = 5.0
GROWTH_GOAL: Final = 0.05  # of what it held at first, in an hour
SHARE: Final = 0.5
_WORKERS: Final = ["--workers", "1"]
_TICK_SECONDS: Final = 0.002
_SAMPLE_SECONDS: Final = 5.0
_SAMPLES: Final = 20  # at least, however brief it is
_CAPACITY_SECONDS: Final = 5.0
# What every part of the daemon allocates once is there after this part of the time.
_SETTLING: Final = 0.1
_KEPT: Final = 10_000  # records that gets are about
_MEGABYTE: Final = 1e6


def steady(minutes: float) -> Report:
    """minutes: at half of the capacity, which is measured before."""
    report = Report("steady")
    with own_daemon(EMBEDDED_UNSYNCED, _WORKERS) as daemon:
        asyncio.run(_steady(report, daemon.endpoint, daemon.pid, minutes * 60))
    return report


async def _steady(report: Report, endpoint: str, pid: int, seconds: float) -> None:
    async with AsyncClient(endpoint, timeout=PATIENT_SECONDS) as client:
        calls = _Calls(client, report)
        capacity = await _capacity(calls, min(_CAPACITY_SECONDS, seconds))
        gc.freeze()  # what is there by now is not gone through again while callers wait
        memory = asyncio.create_task(_memory(pid, seconds))
        parts = await _at_rate(calls, capacity * SHARE, seconds)
        samples = await memory
    answered = sum(map(len, parts))
    report.figures += [
        Figure("capacity, 64 callers of one", [capacity], "calls/s"),
        Figure("load", [answered / seconds], "calls/s"),
    ]
    middle, tail = (
        Figure(f"answered, p{percent}", [_percentile(part, percent) for part in parts], "ms", higher_is_better=False)
        for percent in (50, 99)
    )
    report.figures += [middle, tail.beside(middle, TAIL_GOAL), *_memory_figures(samples)]


class _Calls:
    """Makes one call after the other: a create, two gets and a spend of what is there, in turn."""

    def __init__(self, client: AsyncClient, report: Report) -> None:
        self._client = client
        self._report = report
        self._generator = Generator()
        self._known: deque[Transaction] = deque(maxlen=_KEPT)
        self._unspent: deque[Transaction] = deque()
        self._turn = itertools.cycle((self._create, self._get, self._spend, self._get))

    async def one(self) -> None:
        try:
            right = await next(self._turn)()
        except UtxodError:
            right = False
        self._report.promise(RIGHT, right)

    async def _create(self) -> bool:
        coin = self._generator.coinbase([1000])
        created = await self._client.create(coin.raw, block_height=1)
        self._known.append(coin)
        self._unspent.append(coin)
        return bool(created["txID"] == coin.txid)

    async def _get(self) -> bool:
        if not self._known:
            return await self._create()
        coin = self._known[0]
        self._known.rotate(-1)
        return bool(await self._client.get(coin.txid, ["totalUtxos"]) == {"totalUtxos": 1})

    async def _spend(self) -> bool:
        if not self._unspent:
            return await self._create()
        return await self._client.spend(self._generator.spend((self._unspent.popleft(), 0)))


async def _capacity(calls: _Calls, seconds: float) -> float:
    """Calls per second, of 64 callers that ask again as soon as they are answered."""
    until = time.perf_counter() + seconds

    async def caller() -> int:
        asked = 0
        while not asked or time.perf_counter() < until:
            await calls.one()
            asked += 1
        return asked

    return sum(await asyncio.gather(*(caller() for _ in range(SINGLE_CALLERS)))) / seconds


async def _at_rate(calls: _Calls, rate: float, seconds: float) -> list["array[float]"]:
    """Milliseconds from when each call was to come until its answer, in parts of about a minute."""
    parts = [array("d") for _ in range(max(1, round(seconds / 60)))]
    under_way: set[asyncio.Task[None]] = set()
    begin = time.perf_counter()
    came = 0

    async def call(due: float) -> None:
        await calls.one()
        part = parts[min(int((due - begin) / seconds * len(parts)), len(parts) - 1)]
        part.append((time.perf_counter() - due) * 1000)

    def come(due: float) -> None:
        nonlocal came
        wanted = int((due - begin) * rate)
        for _ in range(wanted - came):
            task = asyncio.create_task(call(due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        came = wanted

    await _ticks(come, begin, seconds)
    await asyncio.gather(*under_way)
    return parts


async def _ticks(come: Callable[[float], None], begin: float, seconds: float) -> None:
    """Calls `come` in this loop at every tick, with the time at which it was due. A thread keeps the time: the loop's
    own clock is a millisecond too late."""
    loop = asyncio.get_running_loop()
    ended, stopped = asyncio.Event(), Event()

    def tick() -> None:
        for number in range(1, int(seconds / _TICK_SECONDS) + 1):
            due = begin + number * _TICK_SECONDS
            time.sleep(max(0.0, due - time.perf_counter()))
            if stopped.is_set():
                return
            loop.call_soon_threadsafe(come, due)
        loop.call_soon_threadsafe(ended.set)

    thread = Thread(target=tick)
    thread.start()
    try:
        await ended.wait()
    finally:
        stopped.set()
        thread.join()


async def _memory(pid: int, seconds: float) -> list[tuple[float, float]]:
    """(seconds since the start, bytes) of the daemon and its workers; two at least, for a line through them."""
    begin = time.perf_counter()
    samples: list[tuple[float, float]] = []
    while (passed := time.perf_counter() - begin) < seconds or len(samples) < 2:
        held = await asyncio.to_thread(footprint, pid, 0)
        samples.append((passed, float(held.memory_bytes)))
        await asyncio.sleep(min(_SAMPLE_SECONDS, seconds / _SAMPLES))
    return samples


def _memory_figures(samples: list[tuple[float, float]]) -> list[Figure]:
    settled = samples[int(len(samples) * _SETTLING) :]
    times, held = [passed for passed, _ in settled], [held / _MEGABYTE for _, held in settled]
    growth = linear_regression(times, held).slope * 3600
    first = Figure("memory once it had settled", [held[0]], "MB")
    an_hour = Figure("memory, growth by the line that fits best", [growth], "MB/h", higher_is_better=False)
    return [first, Figure("memory at the end", [held[-1]], "MB"), an_hour.beside(first, GROWTH_GOAL)]


def _percentile(part: Any, percent: int) -> float:
    return float(sorted(part)[len(part) * percent // 100]) if len(part) else float("nan")
