"""Callers that ask again as soon as they are answered: how much is done, how long they wait, and how many items a
worker is handed at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from protocol import AsyncClient

from ..report import RIGHT, Report


class Step(NamedTuple):
    """rate: items per second. middle, tail: p50 and p99 of the answer times, milliseconds. handed: items of a dispatch,
    by the daemon's report."""

    callers: int
    rate: float
    middle: float
    tail: float
    handed: float


async def closed_loop(
    report: Report, client: AsyncClient, question: Callable[[], Awaitable[bool]], callers: int, seconds: float
) -> Step:
    """question: one item, and whether its answer was right. It raises StopAsyncIteration at its end."""
    taken: list[float] = []
    before = await _counters(client)
    began = time.perf_counter()
    until = began + seconds

    async def caller() -> None:
        while (asked := time.perf_counter()) < until or not taken:
            try:
                right = await question()
            except StopAsyncIteration:
                return
            report.promise(RIGHT, right)
            taken.append((time.perf_counter() - asked) * 1000)

    await asyncio.gather(*(caller() for _ in range(callers)))
    rate = len(taken) / (time.perf_counter() - began)
    dispatched, dispatches = (now - then for now, then in zip(await _counters(client), before, strict=True))
    taken.sort()
    return Step(callers, rate, taken[len(taken) // 2], taken[len(taken) * 99 // 100], dispatched / dispatches)


async def _counters(client: AsyncClient) -> tuple[int, int]:
    counters = (await client.status())["counters"]
    return counters.get("dispatched", 0), counters.get("dispatches", 0)
