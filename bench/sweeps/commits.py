"""Callers of the synced store become more: spends that wait together are committed together, with one fsync."""

import asyncio

from protocol import AsyncClient
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED, own_daemon

from ..limits import lmdb
from ..load import PATIENT_SECONDS
from ..report import Report
from ..throughput import WORKERS
from .closed_loop import Step, closed_loop
from .coins import Coins
from .load import CALLERS
from .sweep import Line, Sweep, level


def commits(report: Report, seconds: float) -> list[Sweep]:
    """seconds: of each step."""
    with own_daemon(EMBEDDED, WORKERS) as daemon:
        steps = asyncio.run(_synced(report, daemon.endpoint, seconds))
    with lmdb.opened() as database:
        alone = len(database.commits(seconds)) / seconds
    x = "callers of one spend"
    name = "embedded store, synced"
    shared = [Line(name, [(step.callers, step.handed) for step in steps])]
    limit = level("LMDB, synced commits of one put", alone, CALLERS)
    rates = [Line(name, [(step.callers, step.rate) for step in steps]), limit]
    return [
        Sweep("fsyncs", "Spends that share an fsync", x, "items of a commit", shared, CALLERS),
        Sweep("synced", "Synced spends", x, "items/s", rates, CALLERS),
    ]


async def _synced(report: Report, endpoint: str, seconds: float) -> list[Step]:
    generator = Generator()
    steps = []
    async with AsyncClient(endpoint, timeout=PATIENT_SECONDS) as client:
        for callers in CALLERS:
            coins = await Coins.created(client, generator, seconds)
            steps.append(await closed_loop(report, client, coins.spend, callers, seconds))
    return steps
