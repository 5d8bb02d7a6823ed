"""The load grows: throughput against latency, and how many items a worker is handed at once."""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Final

from protocol import AsyncClient
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED_UNSYNCED, own_daemon

from ..limits import relay
from ..load import PATIENT_SECONDS, ask_from_threads
from ..peers.measurement import Ask, others
from ..report import Report
from ..throughput import FIELDS, NULL_RECORD, WORKERS
from .closed_loop import Step, closed_loop
from .coins import Coins
from .sweep import Line, Role, Sweep

CALLERS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PEER_CALLERS: Final = (1, 4, 16, 64)
_TXIDS: Final = [number.to_bytes(32, "little") for number in range(1024)]


def load(report: Report, seconds: float) -> list[Sweep]:
    """seconds: of each step."""
    with own_daemon("null:", WORKERS) as daemon:
        steps = {"null store, get": asyncio.run(_null(report, daemon.endpoint, seconds))}
    with own_daemon(EMBEDDED_UNSYNCED, WORKERS) as daemon:
        gets, spends = asyncio.run(_embedded(report, daemon.endpoint, seconds))
    steps |= {"embedded store, get": gets, "embedded store, spend": spends}
    lines = [line for name, found in steps.items() for line in _latency_lines(name, found)]
    lines += [_relayed(seconds), *_peers(seconds)]
    title = "Throughput and latency as callers of one item become more (1 to 256)"
    handed = [Line(name, [(step.callers, step.handed) for step in found]) for name, found in steps.items()]
    x = "callers of one item"
    return [
        Sweep("latency", title, "items/s", "milliseconds until the answer", lines),
        Sweep("batches", "What a worker is handed at once", x, "items of a dispatch", handed, CALLERS),
    ]


def _latency_lines(name: str, steps: Sequence[Step]) -> list[Line]:
    return [
        Line(f"{name}, p50", [(step.rate, step.middle) for step in steps]),
        Line(f"{name}, p99", [(step.rate, step.tail) for step in steps], Role.TAIL),
    ]


async def _null(report: Report, endpoint: str, seconds: float) -> list[Step]:
    async with AsyncClient(endpoint, timeout=PATIENT_SECONDS) as client:
        source = itertools.cycle(_TXIDS)

        async def get() -> bool:
            return await client.get(next(source), FIELDS) == NULL_RECORD

        return [await closed_loop(report, client, get, callers, seconds) for callers in CALLERS]


async def _embedded(report: Report, endpoint: str, seconds: float) -> tuple[list[Step], list[Step]]:
    """Of gets and of spends."""
    generator = Generator()
    async with AsyncClient(endpoint, timeout=PATIENT_SECONDS) as client:
        steps = []
        for callers in CALLERS:
            coins = await Coins.created(client, generator, seconds)
            steps.append([await closed_loop(report, client, ask, callers, seconds) for ask in (coins.get, coins.spend)])
    return [get for get, _ in steps], [spend for _, spend in steps]


def _relayed(seconds: float) -> Line:
    with relay.relay() as messages:
        rates = [(count, messages.messages_per_second(relay.ITEM_BYTES, count, seconds)) for count in CALLERS]
    return Line("bare relay, mean", _by_mean(rates), Role.LIMIT)


def _peers(seconds: float) -> list[Line]:
    lines = []
    with contextlib.ExitStack() as stack:
        for name, ask in others(stack).items():
            rates = [(callers, _peer_rate(ask, callers, seconds)) for callers in PEER_CALLERS]
            lines.append(Line(f"{name}, mean", _by_mean(rates), Role.PEER))
    return lines


def _peer_rate(ask: Ask, callers: int, seconds: float) -> float:
    rate, _ = ask_from_threads(lambda txid: ask([txid]) == [NULL_RECORD], _TXIDS, seconds, callers)
    return rate


def _by_mean(rates: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """In a closed loop the mean of the answer times is what the rate leaves each caller."""
    return [(rate, callers / rate * 1000) for callers, rate in rates]
