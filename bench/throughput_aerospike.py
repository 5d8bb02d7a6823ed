"""Items per second with a store in Aerospike: through the daemon, and beside it the same work done by one process that
calls the client itself, one at a time and in batches; gets of all copies, as the store reads, and of one, in turns.
Every spend is of another record of two outputs."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from protocol import AsyncClient, CreateItem, Spend
from store import Mode, Store, Write, open_store
from store.layout import CreationOptions, create_records, pack_spending_data
from store.rules import rules_source
from store.transaction import Transaction
from utxod.generate import Generator
from utxod.own_daemon import own_daemon

from .direct import Apply, Direct
from .load import MANY, ask_many, ask_singles, batched
from .load import SINGLE_CALLERS as CALLERS
from .report import RIGHT, Figure, Report, check_outcomes

COINS: Final = 20_000
SINGLES: Final = 4_000
HEIGHT: Final = 200
RETENTION: Final = 288
FIELDS: Final = ("totalUtxos",)
BUDGET: Final = 30.0
# Of the same run's direct figures.
MANY_GOAL: Final = 0.8
SINGLE_GOAL: Final = 1.5
_WORKERS: Final = ["--workers", "2"]


def throughput_aerospike(url: str, rounds: int, seconds: float) -> Report:
    """url: of a set that is the measurement's own: it is filled."""
    report = Report("throughput")
    generator = Generator(seed=time.time_ns())
    store, direct = open_store(url), Direct(url)
    try:
        alone = {size: _direct(report, store, direct, generator, rounds, size) for size in (1, MANY, 1000)}
    finally:
        direct.close()
        store.close()
    with own_daemon(url, _WORKERS) as daemon:
        many = asyncio.run(_daemon_many(report, daemon.endpoint, generator, rounds, seconds))
        single = asyncio.run(_daemon_singles(report, daemon.endpoint, generator, rounds, seconds))
    for index, what in enumerate(("spends", "gets")):
        wanted = MANY_GOAL * _median(alone[MANY][index])
        _add(report, f"daemon, {what}, {CALLERS} callers of {MANY}", many[index], wanted)
        wanted = SINGLE_GOAL * _median(alone[1][index])
        _add(report, f"daemon, {what}, {CALLERS} callers of one", single[index], wanted)
    for size, (spends, gets, gets_of_one_copy) in alone.items():
        how = "one at a time" if size == 1 else f"batches of {size}"
        _add(report, f"direct, spends, {how}", spends)
        _add(report, f"direct, gets, {how}", gets)
        _add(report, f"direct, gets of one copy, {how}", gets_of_one_copy)
    return report


def _add(report: Report, name: str, rates: Sequence[float], goal: float | None = None) -> None:
    report.figures.append(Figure(name, rates, "items/s", goal))


def _median(rates: Sequence[float]) -> float:
    return Figure("", rates, "").value


def _direct(
    report: Report, store: Store, direct: Direct, generator: Generator, rounds: int, size: int
) -> tuple[list[float], list[float], list[float]]:
    module = direct.register(rules_source())

    def get(txids: Sequence[bytes], *, one_copy: bool = False) -> list[Any]:
        if size == 1:
            return [direct.get(txids[0], FIELDS, one_copy=one_copy)]
        return direct.get_many(txids, FIELDS, one_copy=one_copy)

    def spend(calls: Sequence[Apply]) -> list[Any]:
        return [direct.apply(module, calls[0])] if size == 1 else direct.apply_many(module, calls)

    spends: list[float] = []
    gets: list[float] = []
    gets_of_one_copy: list[float] = []
    for _ in range(rounds):
        coins = [generator.coinbase([1000, 1000]) for _ in range(SINGLES if size == 1 else COINS)]
        _create(report, store, coins)
        for ask, rates in ((get, gets), (partial(get, one_copy=True), gets_of_one_copy)):
            rate, found = _timed(ask, batched([coin.txid for coin in coins], size))
            rates.append(rate)
            report.promise(RIGHT, found == [{"totalUtxos": 2}] * len(coins))
        rate, found = _timed(spend, batched([_call(generator.spend((coin, 0))) for coin in coins], size))
        spends.append(rate)
        report.promise(RIGHT, len(found) == len(coins) and all(result["status"] == "OK" for result in found))
    return spends, gets, gets_of_one_copy


def _create(report: Report, store: Store, coins: Sequence[Transaction]) -> None:
    options = CreationOptions(block_height=1, now_ms=0, retention=RETENTION)
    writes = [Write(key, bins, Mode.CREATE) for coin in coins for key, bins in create_records(coin, options).records]
    for some in batched(writes, MANY):
        report.promise(RIGHT, all(result.status == "OK" for result in store.batch_operate(some, BUDGET)))


def _call(spend: Spend) -> Apply:
    spending_data = pack_spending_data(spend.spending_txid, spend.vin)
    return spend.txid, "spend", (spend.vout, spend.utxo_hash, spending_data, False, False, HEIGHT, RETENTION)


def _timed(ask: Callable[[Any], list[Any]], requests: Iterable[Any]) -> tuple[float, list[Any]]:
    """(results per second, the results)."""
    started = time.perf_counter()
    results = [result for request in requests for result in ask(request)]
    return len(results) / (time.perf_counter() - started), results


Rates = tuple[list[float], list[float]]


async def _created(report: Report, client: AsyncClient, generator: Generator, count: int) -> list[Transaction]:
    coins = [generator.coinbase([1000, 1000]) for _ in range(count)]
    items = [CreateItem.whole(coin.raw, block_height=1) for coin in coins]
    _, outcomes = await ask_many(client.create_many, batched(items, MANY))
    report.promise(RIGHT, all(outcome.ok for outcome in outcomes))
    return coins


async def _daemon_many(report: Report, endpoint: str, generator: Generator, rounds: int, seconds: float) -> Rates:
    spends, gets = [], []
    async with AsyncClient(endpoint) as client:
        for _ in range(rounds):
            coins = await _created(report, client, generator, COINS)
            txids = list(batched([coin.txid for coin in coins], MANY))
            rate, outcomes = await ask_many(
                lambda keys: client.get_many(keys, FIELDS), itertools.cycle(txids), seconds, CALLERS
            )
            gets.append(rate)
            check_outcomes(report, outcomes, {"totalUtxos": 2})
            items = [generator.spend((coin, 0)) for coin in coins]
            rate, outcomes = await ask_many(client.spend_many, batched(items, MANY), in_flight=CALLERS)
            spends.append(rate)
            check_outcomes(report, outcomes, True)
    return spends, gets


async def _daemon_singles(report: Report, endpoint: str, generator: Generator, rounds: int, seconds: float) -> Rates:
    spends, gets = [], []
    async with AsyncClient(endpoint) as client:

        async def is_found(txid: bytes) -> bool:
            return await client.get(txid, FIELDS) == {"totalUtxos": 2}

        for _ in range(rounds):
            coins = await _created(report, client, generator, COINS)
            rate, wrong = await ask_singles(is_found, [coin.txid for coin in coins], seconds)
            gets.append(rate)
            report.promise(RIGHT, wrong == 0)
            rate = await _each_once(report, client.spend, [generator.spend((coin, 0)) for coin in coins])
            spends.append(rate)
    return spends, gets


async def _each_once(report: Report, ask: Callable[[Any], Awaitable[bool]], items: Sequence[Any]) -> float:
    """Items per second, by 64 callers."""
    source = iter(items)

    async def caller() -> None:
        for item in source:
            report.promise(RIGHT, await ask(item) is True)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return len(items) / (time.perf_counter() - started)
