"""Items per second: the path alone (null store), and with the embedded store, not synced to disk."""

import asyncio
import itertools
from typing import Final

from protocol import AsyncClient, Client, CreateItem, Spend
from protocol.codes import SPENT
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED_UNSYNCED, own_daemon

from .load import MANY, ask_from_threads, ask_many, ask_singles, batched
from .report import RIGHT, Figure, Report, check_answered, check_outcomes

NULL_GOAL: Final = 300_000
THREADS_GOAL: Final = 15_000
ASYNCIO_GOAL: Final = 20_000
SPENDS_GOAL: Final = 20_000
COINS_A_ROUND: Final = 20_000
HEIGHT: Final = 200
FIELDS: Final = ("totalUtxos",)
# What the null store answers whoever asks.
NULL_RECORD: Final = {"totalUtxos": 2}

# One worker of each pool: with a client and the broker beside it, they fill two cores.
_WORKERS: Final = ["--workers", "1"]


def throughput(rounds: int, seconds: float) -> Report:
    """rounds: of each measurement. seconds: of each round; spends take as long as they take."""
    report = Report("throughput")
    with own_daemon("null:", _WORKERS) as daemon:
        asyncio.run(_null_many(daemon.endpoint, report, rounds, seconds))
        _threads(daemon.endpoint, report, rounds, seconds)
        asyncio.run(_asyncio(daemon.endpoint, report, rounds, seconds))
    with own_daemon(EMBEDDED_UNSYNCED, _WORKERS) as daemon:
        asyncio.run(_embedded(daemon.endpoint, report, rounds, seconds))
    return report


async def _null_many(endpoint: str, report: Report, rounds: int, seconds: float) -> None:
    txids = [number.to_bytes(32, "little") for number in range(MANY)]
    spends = [Spend(txid, 0, bytes(32), txid, 0, HEIGHT) for txid in txids]
    gets, spent = [], []
    async with AsyncClient(endpoint) as client:
        for _ in range(rounds):
            rate, outcomes = await ask_many(
                lambda keys: client.get_many(keys, FIELDS), itertools.repeat(txids), seconds
            )
            gets.append(rate)
            check_outcomes(report, outcomes, NULL_RECORD)
            rate, outcomes = await ask_many(client.spend_many, itertools.repeat(spends), seconds)
            spent.append(rate)
            check_outcomes(report, outcomes, True)
    report.figures.append(Figure("null store, get of one field, 100 a request", gets, "items/s", NULL_GOAL))
    report.figures.append(Figure("null store, spend, 100 a request", spent, "items/s", NULL_GOAL))


def _threads(endpoint: str, report: Report, rounds: int, seconds: float) -> None:
    txids = [number.to_bytes(32, "little") for number in range(1024)]
    rates = []
    with Client(endpoint) as client:
        for _ in range(rounds):
            rate, wrong = ask_from_threads(
                client, lambda client, txid: client.get(txid, FIELDS) == NULL_RECORD, txids, seconds
            )
            rates.append(rate)
            report.promise(RIGHT, wrong == 0)
    report.figures.append(Figure("null store, get of one field, 64 threads", rates, "items/s", THREADS_GOAL))


async def _asyncio(endpoint: str, report: Report, rounds: int, seconds: float) -> None:
    txids = [number.to_bytes(32, "little") for number in range(1024)]
    rates = []
    async with AsyncClient(endpoint) as client:

        async def is_right(txid: bytes) -> bool:
            return await client.get(txid, FIELDS) == NULL_RECORD

        for _ in range(rounds):
            rate, wrong = await ask_singles(is_right, txids, seconds)
            rates.append(rate)
            report.promise(RIGHT, wrong == 0)
    report.figures.append(Figure("null store, get of one field, 64 asyncio tasks", rates, "items/s", ASYNCIO_GOAL))


async def _embedded(endpoint: str, report: Report, rounds: int, seconds: float) -> None:
    """Every transaction has one coin, so that each of the 100 spends of a request is of another record."""
    generator = Generator()
    creates, gets, spends = [], [], []
    async with AsyncClient(endpoint) as client:
        for _ in range(rounds):
            coins = [generator.coinbase([1000]) for _ in range(COINS_A_ROUND)]
            items = [CreateItem.whole(coin.raw, block_height=1) for coin in coins]
            rate, outcomes = await ask_many(client.create_many, batched(items, MANY))
            creates.append(rate)
            check_answered(report, outcomes)
            report.promise(RIGHT, {outcome.result["txID"] for outcome in outcomes} == {coin.txid for coin in coins})

            txids = list(batched([coin.txid for coin in coins], MANY))
            rate, outcomes = await ask_many(lambda keys: client.get_many(keys, FIELDS), itertools.cycle(txids), seconds)
            gets.append(rate)
            check_outcomes(report, outcomes, {"totalUtxos": 1})

            first = [generator.spend((coin, 0)) for coin in coins]
            rate, outcomes = await ask_many(client.spend_many, batched(first, MANY))
            spends.append(rate)
            check_outcomes(report, outcomes, True)
            second = [generator.spend((coin, 0)) for coin in coins]
            _, outcomes = await ask_many(client.spend_many, batched(second, MANY))
            report.promise("every coin could be spent once, and not again", all(o.code == SPENT for o in outcomes))
    report.figures.append(Figure("embedded store, create, 100 a request", creates, "items/s"))
    report.figures.append(Figure("embedded store, get of one field, 100 a request", gets, "items/s"))
    report.figures.append(Figure("embedded store, spend, 100 a request", spends, "items/s", SPENDS_GOAL))
