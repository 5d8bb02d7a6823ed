"""More workers: items per second in requests of 100, null store and embedded."""

import asyncio
from collections import defaultdict
from typing import Final

from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED_UNSYNCED, own_daemon

from ..limits import lmdb, relay
from ..report import Report
from ..throughput import (
    CREATE,
    GET,
    GET_AND_PUT,
    NULL_GET,
    NULL_SPEND,
    RELAY_OF_MANY,
    SPEND,
    embedded_round,
    null_round,
)
from .sweep import Line, Point, Sweep, level

WORKERS: Final = (1, 2, 4)


def workers(report: Report, seconds: float) -> list[Sweep]:
    """seconds: of each measurement."""
    points: dict[str, list[Point]] = defaultdict(list)
    generator = Generator()
    with relay.relay() as messages, lmdb.opened() as database:
        for count in WORKERS:
            arguments = ["--workers", str(count)]
            with own_daemon("null:", arguments) as daemon:
                found = asyncio.run(null_round(daemon.endpoint, report, messages, seconds))
            with own_daemon(EMBEDDED_UNSYNCED, arguments) as daemon:
                found |= asyncio.run(embedded_round(daemon.endpoint, report, generator, database, seconds))
            for name, rate in found.items():
                points[name].append((count, rate))
    ours = [Line(name, points[name]) for name in (NULL_GET, NULL_SPEND, GET, SPEND, CREATE)]
    limits = [level(name, max(rate for _, rate in points[name]), WORKERS) for name in (RELAY_OF_MANY, GET_AND_PUT)]
    return [Sweep("workers", "More workers", "workers of each pool", "items/s", [*ours, *limits], WORKERS)]
