"""How long it takes, when a worker is killed or stopped, until the items that it held are answered."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

from protocol import AsyncClient, CreateItem, Outcome
from protocol.codes import UNKNOWN, WORKER_CRASHED

from .faults import Faults, faulty_daemon
from .report import Figure, Report, check_answered

MEDIAN_GOAL_MS: Final = 20.0
WORST_GOAL_MS: Final = 100.0
STOPPED_GOAL_MS: Final = 1000.0

IN_HAND: Final = "the items in its hands, and no others, were answered: WORKER_CRASHED, unknown"
# Workers that hold items at the same time; killed together they are one generation, whose successors start at once.
_WORKERS: Final = 20
_ITEMS_EACH: Final = 10
_START_SECONDS: Final = 60.0
_TIMEOUT: Final = 600.0  # no deadline may answer in place of the end
_BUDGET: Final = 30.0  # nor may a store refuse what was held for long
_LOOK_SECONDS: Final = 0.005
_OUTPUTS: Final = {0: (1, b"\x51")}


def crash(kills: int, stops: int) -> Report:
    """kills, stops: how many workers are ended so."""
    report = Report("crash")
    settings = {"workers.write": _WORKERS, "broker.budget_seconds": _BUDGET, "broker.grace_seconds": _TIMEOUT}
    with faulty_daemon(settings) as (daemon, faults):
        killed = asyncio.run(_delays(daemon.endpoint, faults, report, signal.SIGKILL, kills))
        stopped = asyncio.run(_delays(daemon.endpoint, faults, report, signal.SIGSTOP, stops))
    for name, delays, goals in (
        ("SIGKILL", killed, (MEDIAN_GOAL_MS, WORST_GOAL_MS)),
        ("SIGSTOP", stopped, (None, STOPPED_GOAL_MS)),
    ):
        middle, worst = goals
        report.figures.append(Figure(f"{name} to answers, median", delays, "ms", middle, higher_is_better=False))
        report.figures.append(Figure(f"{name} to answers, worst", [max(delays)], "ms", worst, higher_is_better=False))
    return report


async def _delays(endpoint: str, faults: Faults, report: Report, number: signal.Signals, times: int) -> list[float]:
    """Milliseconds from the signal to the answers, for as many workers."""
    delays: list[float] = []
    async with AsyncClient(endpoint, timeout=_TIMEOUT) as client:
        while len(delays) < times:
            delays += await _generation(client, faults, report, number, min(_WORKERS, times - len(delays)))
    return delays


async def _generation(
    client: AsyncClient, faults: Faults, report: Report, number: signal.Signals, times: int
) -> list[float]:
    """Gives each worker something to hold, and ends `times` of them, one after the other."""
    status = await _status(client, lambda pool: pool["workers"] == pool["idle"] == _WORKERS)
    pids = [process["pid"] for process in status["processes"] if process["pool"] == "write"][:times]
    delays = []
    with faults.hang():
        waiting: set[asyncio.Task[list[Outcome[Any]]]] = set()
        for held in range(1, _WORKERS + 1):
            waiting.add(asyncio.create_task(client.create_many(_creations())))
            await _status(client, _in_flight(held * _ITEMS_EACH))
        for pid in pids:
            started = time.perf_counter()
            os.kill(pid, number)
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            delays.append((time.perf_counter() - started) * 1000)
            outcomes = [outcome for task in done for outcome in task.result()]
            check_answered(report, outcomes)
            held_by_it = len(done) == 1 and {_verdict(outcome) for outcome in outcomes} == {(WORKER_CRASHED, UNKNOWN)}
            report.promise(IN_HAND, held_by_it)
            await _status(client, lambda pool: pool["workers"] == _WORKERS)
    for task in waiting:
        report.promise("what the others held was executed", all(outcome.ok for outcome in await task))
    return delays


def _in_flight(items: int) -> Callable[[dict[str, Any]], bool]:
    return lambda pool: pool["in_flight"] == items


async def _status(client: AsyncClient, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first status in which the `write` pool is so."""
    until = time.monotonic() + _START_SECONDS
    while not condition((status := await client.status())["pools"]["write"]):
        if time.monotonic() > until:
            raise TimeoutError(f"the pool is {status['pools']['write']}")
        await asyncio.sleep(_LOOK_SECONDS)
    return status


def _verdict(outcome: Outcome[Any]) -> tuple[str, str]:
    return outcome.code, outcome.error.executed if outcome.error else ""


def _creations() -> list[CreateItem]:
    return [CreateItem.partial(os.urandom(32), _OUTPUTS, block_height=1) for _ in range(_ITEMS_EACH)]
