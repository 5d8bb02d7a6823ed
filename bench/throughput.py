"""Items per second: the path alone (null store), and with the embedded store, not synced to disk; each beside what the
machine can do at best, measured in the same round."""

import asyncio
import itertools
from typing import Final

from protocol import AsyncClient, Client, CreateItem, Spend
from protocol.codes import SPENT
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED_UNSYNCED, own_daemon

from .limits import lmdb, pool, relay
from .load import (
    MANY,
    PATIENT_SECONDS,
    REQUESTS_IN_FLIGHT,
    SINGLE_CALLERS,
    ask_from_threads,
    ask_many,
    ask_singles,
    batched,
)
from .report import RIGHT, Limits, Report, Round, check_answered, check_outcomes

COINS_A_ROUND: Final = 20_000
HEIGHT: Final = 200
FIELDS: Final = ("totalUtxos",)
# What the null store answers whoever asks.
NULL_RECORD: Final = {"totalUtxos": 2}

NULL_GET: Final = "null store, get of one field, 100 a request"
NULL_SPEND: Final = "null store, spend, 100 a request"
THREADS: Final = "null store, get of one field, 64 threads"
TASKS: Final = "null store, get of one field, 64 asyncio tasks"
CREATE: Final = "embedded store, create, 100 a request"
GET: Final = "embedded store, get of one field, 100 a request"
SPEND: Final = "embedded store, spend, 100 a request"
RELAY_OF_MANY: Final = f"bare relay, 100 items in {relay.MANY_BYTES / 1000} KB"
RELAY: Final = f"bare relay, one item in {relay.ITEM_BYTES} bytes"
PUT: Final = "LMDB, put"
GET_ALONE: Final = "LMDB, get"
GET_AND_PUT: Final = "LMDB, get + put"

LIMITS: Final[Limits] = {
    NULL_GET: {RELAY_OF_MANY: None},
    NULL_SPEND: {RELAY_OF_MANY: None},
    THREADS: {pool.NAME: 2.5, RELAY: None},
    TASKS: {pool.NAME: 4.0, RELAY: None},
    CREATE: {PUT: None},
    GET: {GET_ALONE: None},
    SPEND: {GET_AND_PUT: 0.2},
}

# One worker of each pool: with a client and the broker beside it, they fill two cores.
WORKERS: Final = ["--workers", "1"]
_LMDB_SECONDS: Final = 0.5


def throughput(rounds: int, seconds: float) -> Report:
    """rounds: of each measurement. seconds: of each round; spends take as long as they take."""
    report = Report("throughput")
    with own_daemon("null:", WORKERS) as daemon, relay.relay() as messages, pool.pool() as processes:
        null = [
            asyncio.run(null_round(daemon.endpoint, report, messages, seconds))
            | _threads(daemon.endpoint, report, processes, seconds)
            | asyncio.run(_tasks(daemon.endpoint, report, messages, seconds))
            for _ in range(rounds)
        ]
    generator = Generator()
    with own_daemon(EMBEDDED_UNSYNCED, WORKERS) as daemon, lmdb.opened() as database:
        embedded = [
            asyncio.run(embedded_round(daemon.endpoint, report, generator, database, seconds)) for _ in range(rounds)
        ]
    measured = [one | other for one, other in zip(null, embedded, strict=True)]
    report.add(measured, "items/s", LIMITS)
    return report


async def null_round(endpoint: str, report: Report, messages: relay.Relay, seconds: float) -> Round:
    txids = [number.to_bytes(32, "little") for number in range(MANY)]
    spends = [Spend(txid, 0, bytes(32), txid, 0, HEIGHT) for txid in txids]
    async with AsyncClient(endpoint, timeout=PATIENT_SECONDS) as client:
        gets, outcomes = await ask_many(lambda keys: client.get_many(keys, FIELDS), itertools.repeat(txids), seconds)
        check_outcomes(report, outcomes, NULL_RECORD)
        relayed = messages.messages_per_second(relay.MANY_BYTES, REQUESTS_IN_FLIGHT, seconds)
        spent, outcomes = await ask_many(client.spend_many, itertools.repeat(spends), seconds)
        check_outcomes(report, outcomes, True)
    return {NULL_GET: gets, NULL_SPEND: spent, RELAY_OF_MANY: relayed * MANY}


def _threads(endpoint: str, report: Report, processes: pool.Processes, seconds: float) -> Round:
    txids = [number.to_bytes(32, "little") for number in range(1024)]
    with Client(endpoint, timeout=PATIENT_SECONDS) as client:
        rate, wrong = ask_from_threads(lambda txid: client.get(txid, FIELDS) == NULL_RECORD, txids, seconds)
    report.promise(RIGHT, wrong == 0)
    return {THREADS: rate, pool.NAME: pool.calls_per_second(processes, txids, seconds)}


async def _tasks(endpoint: str, report: Report, messages: relay.Relay, seconds: float) -> Round:
    txids = [number.to_bytes(32, "little") for number in range(1024)]
    async with AsyncClient(endpoint, timeout=PATIENT_SECONDS) as client:

        async def is_right(txid: bytes) -> bool:
            return await client.get(txid, FIELDS) == NULL_RECORD

        rate, wrong = await ask_singles(is_right, txids, seconds)
        report.promise(RIGHT, wrong == 0)
    return {TASKS: rate, RELAY: messages.messages_per_second(relay.ITEM_BYTES, SINGLE_CALLERS, seconds)}


async def embedded_round(
    endpoint: str, report: Report, generator: Generator, database: lmdb.Lmdb, seconds: float
) -> Round:
    """Every transaction has one coin, so that each of the 100 spends of a request is of another record."""
    lmdb_seconds = min(seconds, _LMDB_SECONDS)
    coins = [generator.coinbase([1000]) for _ in range(COINS_A_ROUND)]
    async with AsyncClient(endpoint, timeout=PATIENT_SECONDS) as client:
        items = [CreateItem.whole(coin.raw, block_height=1) for coin in coins]
        creates, outcomes = await ask_many(client.create_many, batched(items, MANY))
        check_answered(report, outcomes)
        report.promise(RIGHT, {outcome.result["txID"] for outcome in outcomes} == {coin.txid for coin in coins})
        puts = database.puts_per_second(COINS_A_ROUND)

        txids = list(batched([coin.txid for coin in coins], MANY))
        gets, outcomes = await ask_many(lambda keys: client.get_many(keys, FIELDS), itertools.cycle(txids), seconds)
        check_outcomes(report, outcomes, {"totalUtxos": 1})
        gets_alone = database.gets_per_second(lmdb_seconds)

        first = [generator.spend((coin, 0)) for coin in coins]
        spends, outcomes = await ask_many(client.spend_many, batched(first, MANY))
        check_outcomes(report, outcomes, True)
        get_and_puts = database.get_and_puts_per_second(lmdb_seconds)

        second = [generator.spend((coin, 0)) for coin in coins]
        _, outcomes = await ask_many(client.spend_many, batched(second, MANY))
        report.promise("every coin could be spent once, and not again", all(o.code == SPENT for o in outcomes))
    return {CREATE: creates, PUT: puts, GET: gets, GET_ALONE: gets_alone, SPEND: spends, GET_AND_PUT: get_and_puts}
