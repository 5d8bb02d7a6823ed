"""Accepts: rival and equal transactions from 16 callers through two daemons on one set, workers killed meanwhile; then
all answers are held against the set.

What was not settled by its answer is asked again, until it is. In the end, with nothing broken and nothing under way,
each transaction is asked once more: what it is told then is what must be.
"""

import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from bench.load import batched
from bench.report import Figure, Report
from protocol import AcceptItem, AsyncClient, Client, Outcome, UtxodError, codes
from store import open_store
from tests.rivals.accepts_checker import PROMISES, Asked, check
from tests.rivals.daemons import kill_one, set_url, two_daemons, wait_until_quiet
from tests.rivals.knots import HEIGHT, UTXO_BATCH_SIZE, Ask, Knots
from tests.support.fresh_set import refuse_used
from utxod.own_daemon import OwnDaemon

CALLERS: Final = 16
_CONNECTIONS: Final = 2  # with each daemon
_TIMEOUT: Final = 5.0
_SHORT_TIMEOUTS: Final = (0.005, 0.1)
_SHORT_ONES: Final = 0.03  # how often a caller has less patience than it takes
_TOGETHER: Final = 0.3  # how often several are asked in one call
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SETTLE_SECONDS: Final = 90.0  # the lock of a creator that died expires after half a minute or more
_SHOWN: Final = 20


def accepts(count: int, seed: int | None, store: str | None, kills: float) -> Report:
    """count: of accepts, those beside that are asked again. store: URL of an empty set in Aerospike; None for an
    embedded one. kills: SIGKILLs of workers a minute."""
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    directory = Path(tempfile.mkdtemp(prefix="utxod-accepts-"))
    url = set_url(directory, store, UTXO_BATCH_SIZE)
    if store is not None:
        refuse_used(url)
    report = Report("rivals, accepts", details={"seed": seed})
    with two_daemons(url) as daemons:
        run = _Run(Knots(seed), seed, kills)
        started = time.monotonic()
        asyncio.run(run.callers(daemons, count))
        took = time.monotonic() - started
        wait_until_quiet(daemons)
        asyncio.run(run.once_more(daemons))
        wait_until_quiet(daemons)
        with contextlib.closing(open_store(url)) as opened:
            findings = check(run.knots, run.asked, opened)
    report.figures = [
        Figure("accepts", [count], ""),
        Figure("accepts, a second", [count / took], "/s"),
        Figure("asked again", [run.again], ""),
        Figure("SIGKILLs of workers", [run.kills], ""),
        *(Figure(name, [number], "") for name, number in sorted(findings.counts.items()) if name not in PROMISES),
    ]
    for kind, promise in PROMISES.items():
        report.promise(promise, findings.counts[kind] == 0)
    for violation in findings.violations[:_SHOWN]:
        print(violation, file=sys.stderr)
    shutil.rmtree(directory, ignore_errors=True)
    return report


class _Run:
    """asked: everything, in the order of the answers. again: how much of it was asked before. kills: workers that
    were."""

    def __init__(self, knots: Knots, seed: int, kills_a_minute: float) -> None:
        self.knots = knots
        self.asked: list[Asked] = []
        self.again = 0
        self.kills = 0
        self._random = random.Random(f"{seed}:callers")
        self._kills_a_minute = kills_a_minute
        self._has_killed = asyncio.Event()

    async def callers(self, daemons: Sequence[OwnDaemon], count: int) -> None:
        asks = list(self.knots.asks(count))
        self._create_coins(daemons[0], sorted({ask.knot for ask in asks}))
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(AsyncClient(daemon.endpoint))
                for daemon in daemons
                for _ in range(_CONNECTIONS)
            ]
            breaking = asyncio.create_task(self._break(daemons))
            source = iter(asks)
            await asyncio.gather(*(self._caller(clients, source) for _ in range(CALLERS)))
            if self._kills_a_minute:
                await self._has_killed.wait()
            breaking.cancel()

    def _create_coins(self, daemon: OwnDaemon, numbers: Sequence[int]) -> None:
        with Client(daemon.endpoint) as client:
            for some in batched([self.knots.knot(number).creation for number in numbers], 50):
                for outcome in client.retry(client.create_many, some, within=_SETTLE_SECONDS):
                    if outcome.error is not None and outcome.code != codes.TX_EXISTS:
                        raise outcome.error

    async def once_more(self, daemons: Sequence[OwnDaemon]) -> None:
        """Each transaction that was asked, parents before their children, and nothing of its knot beside it."""
        asked = sorted({asked.ask for asked in self.asked})
        async with AsyncClient(daemons[0].endpoint) as client:
            for place in sorted({ask.place for ask in asked}):
                for some in batched([ask for ask in asked if ask.place == place], 200):
                    await self._settle([client], some, quiet=True)

    async def _break(self, daemons: Sequence[OwnDaemon]) -> None:
        """Kills a worker of one daemon or the other, at random times; one at least."""
        while self._kills_a_minute:
            await asyncio.sleep(self._random.expovariate(self._kills_a_minute / 60))
            if await asyncio.to_thread(kill_one, daemons, self._random):
                self.kills += 1
                self._has_killed.set()

    async def _caller(self, clients: Sequence[AsyncClient], source: Iterator[Ask]) -> None:
        while asks := list(islice(source, self._random.randint(2, 4) if self._random.random() < _TOGETHER else 1)):
            await self._settle(clients, asks)

    async def _settle(self, clients: Sequence[AsyncClient], asks: Sequence[Ask], quiet: bool = False) -> None:
        """Asks until each answer is one that is no fault."""
        until, pause = time.monotonic() + _SETTLE_SECONDS, _FIRST_PAUSE
        asks = await self._ask(self._random.choice(clients), asks, quiet)
        while asks and time.monotonic() < until:
            await asyncio.sleep(pause * self._random.random())
            pause = min(2 * pause, _LONGEST_PAUSE)
            self.again += len(asks)
            asks = await self._ask(self._random.choice(clients), asks, quiet)

    async def _ask(self, client: AsyncClient, asks: Sequence[Ask], quiet: bool) -> list[Ask]:
        """Once. Returns those that are not settled."""
        raws = [self.knots.knot(ask.knot).transactions[ask.place].raw for ask in asks]
        is_short = not quiet and self._random.random() < _SHORT_ONES
        timeout = self._random.uniform(*_SHORT_TIMEOUTS) if is_short else _TIMEOUT
        began = time.monotonic()
        outcomes: list[Outcome[Any]]
        try:
            if len(raws) == 1:
                outcomes = [Outcome(await client.accept(raws[0], block_height=HEIGHT, timeout=timeout))]
            else:
                items = [AcceptItem.of(raw, block_height=HEIGHT) for raw in raws]
                outcomes = await client.accept_many(items, timeout=timeout)
        except UtxodError as error:
            outcomes = [Outcome(None, error)] * len(raws)
        ended = time.monotonic()
        told = [Asked(ask, began, ended, outcome, quiet) for ask, outcome in zip(asks, outcomes, strict=True)]
        self.asked += told
        return [each.ask for each in told if not each.is_settled]
