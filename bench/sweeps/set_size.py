"""The set grows: what is done per second with more and more records in the embedded store, beside LMDB itself with as
many."""

import asyncio
from collections import defaultdict
from typing import Final

from protocol import AsyncClient, CreateItem
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED_UNSYNCED, own_daemon
from utxod.rendering import count_progress

from ..limits import lmdb
from ..load import MANY, PATIENT_SECONDS, ask_many, batched, expect_ok
from ..report import Report
from ..throughput import COINS_A_ROUND, CREATE, GET, GET_ALONE, GET_AND_PUT, PUT, SPEND, WORKERS, embedded_round
from .sweep import Line, Point, Role, Sweep

CHUNK: Final = COINS_A_ROUND
# Of the records in the end, at each step.
SHARES: Final = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


def set_size(report: Report, seconds: float, records: int) -> list[Sweep]:
    """seconds: of each measurement. records: in the end, about."""
    points: dict[str, list[Point]] = defaultdict(list)
    generator = Generator()
    with (
        own_daemon(EMBEDDED_UNSYNCED, WORKERS) as daemon,
        lmdb.opened() as database,
        count_progress("records", records) as progress,
    ):
        held = 0
        for share in SHARES:
            while held + CHUNK < records * share:
                asyncio.run(_grow(daemon.endpoint, generator))
                database.puts_per_second(CHUNK)
                held += CHUNK
                progress(CHUNK)
            found = asyncio.run(embedded_round(daemon.endpoint, report, generator, database, seconds))
            held += CHUNK
            progress(CHUNK)
            for name, rate in found.items():
                points[name].append((held, rate))
    sizes = [size for size, _ in points[CREATE]]
    ours = [Line(name, points[name]) for name in (CREATE, GET, SPEND)]
    limits = [Line(name, points[name], Role.LIMIT) for name in (PUT, GET_ALONE, GET_AND_PUT)]
    return [Sweep("set_size", "The set grows", "records", "items/s", [*ours, *limits], sizes)]


async def _grow(endpoint: str, generator: Generator) -> None:
    items = [CreateItem.whole(generator.coinbase([1000]).raw, block_height=1) for _ in range(CHUNK)]
    async with AsyncClient(endpoint, timeout=PATIENT_SECONDS) as client:
        _, outcomes = await ask_many(client.create_many, batched(items, MANY))
    expect_ok(outcomes)
