"""Submitters in processes of their own: each sends at a rate, whether or not it is answered; or as fast as it is."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final, NamedTuple

from protocol import AsyncClient, CreateItem
from protocol.codes import OK
from store.layout import TXID_BYTES

START_SECONDS: Final = 1.5  # in which the processes start and connect
_CONNECT_SECONDS: Final = 60.0
# What a submitter that has more to do than it can may take to notice an answer; then it counts as none.
_GRACE_SECONDS: Final = 5.0
_TICK_SECONDS: Final = 0.005
# Requests under way of one that sends as fast as it is answered: enough for full batches, too few to be refused.
_IN_FLIGHT: Final = 6
_OUTPUTS: Final = {0: (1, b"\x51")}


class Load(NamedTuple):
    """What one submitter sends. name: different for each there ever is. items: of a request. rate: items per second,
    0.0 for as fast as it is answered. timeouts: seconds, of one request after the other, in turn."""

    name: int
    items: int
    rate: float
    seconds: float
    timeouts: tuple[float, ...]


class Sent(NamedTuple):
    """One request. asked, answered: seconds, monotonic. code: of all its items, or more than one. retry_after: seconds,
    0.0 where none was given."""

    load: int
    number: int
    items: int
    asked: float
    answered: float
    code: str
    executed: str
    retry_after: float


def txids_of(load: int, number: int, items: int) -> list[bytes]:
    """Every item creates a transaction of its own."""
    return [b"%08d%08d%08d" % (load, number, item) + bytes(TXID_BYTES - 24) for item in range(items)]


def start(pool: ProcessPoolExecutor, endpoint: str, loads: list[Load]) -> "asyncio.Future[list[list[Sent]]]":
    """They begin together, START_SECONDS from now; who is not ready then, as soon as it is. The future gives what
    became of each one's requests."""
    loop = asyncio.get_running_loop()
    begin = time.monotonic() + START_SECONDS
    return asyncio.gather(*(loop.run_in_executor(pool, _submit, endpoint, load, begin) for load in loads))


def _submit(endpoint: str, load: Load, begin: float) -> list[Sent]:
    return asyncio.run(_send_all(endpoint, load, begin))


async def _send_all(endpoint: str, load: Load, begin: float) -> list[Sent]:
    async with AsyncClient(endpoint, grace=_GRACE_SECONDS) as client:
        await client.status(timeout=_CONNECT_SECONDS)
        await asyncio.sleep(begin - time.monotonic())
        begin = max(begin, time.monotonic())
        numbers = itertools.count()

        async def send() -> Sent:
            return await _ask(client, load, next(numbers))

        if load.rate:
            return await _open_loop(send, load, begin)
        parts = await asyncio.gather(*(_closed_loop(send, load.seconds) for _ in range(_IN_FLIGHT)))
        return [sent for part in parts for sent in part]


async def _open_loop(send: Callable[[], Coroutine[Any, Any, Sent]], load: Load, begin: float) -> list[Sent]:
    """The first at once; what was due while this process stood still, late."""
    under_way: list[asyncio.Task[Sent]] = []
    passed = 0.0
    while passed < load.seconds:
        passed = time.monotonic() - begin
        due = 1 + int(min(passed, load.seconds) * load.rate / load.items) - len(under_way)
        under_way += [asyncio.create_task(send()) for _ in range(due)]
        await asyncio.sleep(_TICK_SECONDS)
    return await asyncio.gather(*under_way)


async def _closed_loop(send: Callable[[], Coroutine[Any, Any, Sent]], seconds: float) -> list[Sent]:
    """One after the other, for so long from the first on."""
    sent = [await send()]
    while time.monotonic() < sent[0].asked + seconds:
        sent.append(await send())
    return sent


async def _ask(client: AsyncClient, load: Load, number: int) -> Sent:
    creations = [CreateItem.partial(txid, _OUTPUTS, block_height=1) for txid in txids_of(load.name, number, load.items)]
    asked = time.monotonic()
    outcomes = await client.create_many(creations, timeout=load.timeouts[number % len(load.timeouts)])
    answered = time.monotonic()
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    return Sent(
        load.name,
        number,
        load.items,
        asked,
        answered,
        " and ".join(sorted({outcome.code for outcome in outcomes})) or OK,
        " and ".join(sorted({error.executed for error in errors})),
        max((error.retry_after or 0.0 for error in errors), default=0.0),
    )
