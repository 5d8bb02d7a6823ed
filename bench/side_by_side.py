"""The same load on two daemons of the null store, in turns (A B, B A, A B, ...): they differ in one thing, and the
ratio of each pair says what that costs. Beside the throughput stands the time that the processors spent, which depends
less on what else the machine does."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Final, NamedTuple

import psutil

from protocol import AsyncClient
from utxod.own_daemon import OwnDaemon, own_daemon

from .load import MANY, PATIENT_SECONDS, ask_many, ask_singles
from .report import RIGHT, Figure, Report, Round, check_outcomes

_FIELDS: Final = ("totalUtxos",)
# What the null store answers whoever asks.
_RECORD: Final = {"totalUtxos": 2}
_LOADS: Final = (f"get, {MANY} a request", "get, 64 asyncio tasks")
_TIME: Final = "processors, "
_WORKERS: Final = ("--workers", "1")


def _nothing(endpoint: str) -> AbstractContextManager[None]:
    return nullcontext()


class Side(NamedTuple):
    """name: as it is shown. arguments: of its daemon. beside: what is done to the daemon at that endpoint while it is
    measured."""

    name: str
    arguments: Sequence[str] = ()
    beside: Callable[[str], AbstractContextManager[None]] = _nothing


def side_by_side(name: str, measured: Side, other: Side, goal: float, rounds: int, seconds: float) -> Report:
    """name: of the measurement. goal: of the throughput of `measured`, divided by that of `other`; for the time of the
    processors it is the other way round. seconds: of each load, in each round."""
    report = Report(name)
    sides = (measured, other)
    found: dict[str, list[Round]] = {side.name: [] for side in sides}
    with ExitStack() as stack:
        daemons = [stack.enter_context(own_daemon("null:", [*_WORKERS, *side.arguments])) for side in sides]
        for number in range(rounds):
            turns = list(zip(sides, daemons, strict=True))
            for side, daemon in turns if number % 2 == 0 else turns[::-1]:
                with side.beside(daemon.endpoint):
                    found[side.name].append(asyncio.run(_round(daemon, report, seconds)))
    for load in found[measured.name][0]:
        is_time = load.startswith(_TIME)
        mine, its = (
            Figure(
                f"{side.name}: {load}",
                [values[load] for values in found[side.name]],
                "us/item" if is_time else "items/s",
                higher_is_better=not is_time,
            )
            for side in sides
        )
        if all(its.rounds):  # a round may be too short for any time of the processors to be counted
            mine = mine.beside(its, 1 / goal if is_time else goal)
        report.figures.append(mine)
        report.limits.append(its)
    return report


async def _round(daemon: OwnDaemon, report: Report, seconds: float) -> Round:
    txids = [number.to_bytes(32, "little") for number in range(1024)]
    values: Round = {}
    async with AsyncClient(daemon.endpoint, timeout=PATIENT_SECONDS) as client:

        async def is_right(txid: bytes) -> bool:
            return await client.get(txid, _FIELDS) == _RECORD

        async def many() -> float:
            requests = itertools.repeat(txids[:MANY])
            rate, outcomes = await ask_many(lambda keys: client.get_many(keys, _FIELDS), requests, seconds)
            check_outcomes(report, outcomes, _RECORD)
            return rate

        async def singles() -> float:
            rate, wrong = await ask_singles(is_right, txids, seconds)
            report.promise(RIGHT, wrong == 0)
            return rate

        await ask_singles(is_right, txids, seconds / 10)  # so that no load is met cold
        for load, ask in zip(_LOADS, (many, singles), strict=True):
            spent, began = _seconds_spent(daemon), time.perf_counter()
            values[load] = await ask()
            taken = time.perf_counter() - began
            values[_TIME + load] = (_seconds_spent(daemon) - spent) / (values[load] * taken) * 1e6
    return values


def _seconds_spent(daemon: OwnDaemon) -> float:
    """By the daemon, and by all that it has started."""
    process = psutil.Process(daemon.pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(spent.user + spent.system for spent in times)
