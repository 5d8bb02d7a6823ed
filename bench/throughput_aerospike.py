"""Items per second with a store in Aerospike: through the daemon, and beside it, in the same rounds, the same work done
by one process that calls the client itself, one at a time and in batches; gets of all copies, as the store reads, and
of one, in turns. Every spend is of another record of two outputs."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing
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
from .report import RIGHT, Limits, Report, Round, check_outcomes

COINS: Final = 20_000
SINGLES: Final = 4_000
HEIGHT: Final = 200
RETENTION: Final = 288
FIELDS: Final = ("totalUtxos",)
BUDGET: Final = 30.0
ONE: Final = f"{CALLERS} callers of one"
HUNDRED: Final = f"{CALLERS} callers of {MANY}"
ALONE: Final = {1: "one at a time", MANY: f"batches of {MANY}", 1000: "batches of 1000"}
# Of each daemon's figure: the ratio to one process that calls the client itself.
LIMITS: Final[Limits] = {
    f"daemon, spends, {HUNDRED}": {f"direct, spends, {ALONE[MANY]}": 1.3, f"direct, spends, {ALONE[1000]}": None},
    f"daemon, spends, {ONE}": {f"direct, spends, {ALONE[1]}": 1.5},
    f"daemon, gets, {HUNDRED}": {f"direct, gets, {ALONE[MANY]}": 0.9, f"direct, gets, {ALONE[1000]}": None}
    | {f"direct, gets of one copy, {how}": None for how in (ALONE[MANY], ALONE[1000])},
    f"daemon, gets, {ONE}": {f"direct, gets, {ALONE[1]}": 1.5, f"direct, gets of one copy, {ALONE[1]}": None},
}
_WORKERS: Final = ["--workers", "2"]


def throughput_aerospike(url: str, rounds: int, seconds: float) -> Report:
    """url: of a set that is the measurement's own: it is filled."""
    report = Report("throughput")
    generator = Generator(seed=time.time_ns())
    measured: list[Round] = []
    with closing(open_store(url)) as store, closing(Direct(url)) as direct, own_daemon(url, _WORKERS) as daemon:
        for _ in range(rounds):
            measured.append(
                _direct(report, store, direct, generator, 1)
                | asyncio.run(_daemon_singles(report, daemon.endpoint, generator, seconds))
                | _direct(report, store, direct, generator, MANY)
                | asyncio.run(_daemon_many(report, daemon.endpoint, generator, seconds))
                | _direct(report, store, direct, generator, 1000)
            )
    report.add(measured, "items/s", LIMITS)
    return report


def _direct(report: Report, store: Store, direct: Direct, generator: Generator, size: int) -> Round:
    module = direct.register(rules_source())

    def get(txids: Sequence[bytes], *, one_copy: bool = False) -> list[Any]:
        if size == 1:
            return [direct.get(txids[0], FIELDS, one_copy=one_copy)]
        return direct.get_many(txids, FIELDS, one_copy=one_copy)

    def spend(calls: Sequence[Apply]) -> list[Any]:
        return [direct.apply(module, calls[0])] if size == 1 else direct.apply_many(module, calls)

    coins = [generator.coinbase([1000, 1000]) for _ in range(SINGLES if size == 1 else COINS)]
    _create(report, store, coins)
    rates: Round = {}
    for ask, what in ((get, "gets"), (partial(get, one_copy=True), "gets of one copy")):
        rate, found = _timed(ask, batched([coin.txid for coin in coins], size))
        rates[f"direct, {what}, {ALONE[size]}"] = rate
        report.promise(RIGHT, found == [{"totalUtxos": 2}] * len(coins))
    rate, found = _timed(spend, batched([_call(generator.spend((coin, 0))) for coin in coins], size))
    rates[f"direct, spends, {ALONE[size]}"] = rate
    report.promise(RIGHT, len(found) == len(coins) and all(result["status"] == "OK" for result in found))
    return rates


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


async def _created(report: Report, client: AsyncClient, generator: Generator, count: int) -> list[Transaction]:
    coins = [generator.coinbase([1000, 1000]) for _ in range(count)]
    items = [CreateItem.whole(coin.raw, block_height=1) for coin in coins]
    _, outcomes = await ask_many(client.create_many, batched(items, MANY))
    report.promise(RIGHT, all(outcome.ok for outcome in outcomes))
    return coins


async def _daemon_many(report: Report, endpoint: str, generator: Generator, seconds: float) -> Round:
    async with AsyncClient(endpoint) as client:
        coins = await _created(report, client, generator, COINS)
        txids = list(batched([coin.txid for coin in coins], MANY))
        gets, outcomes = await ask_many(
            lambda keys: client.get_many(keys, FIELDS), itertools.cycle(txids), seconds, CALLERS
        )
        check_outcomes(report, outcomes, {"totalUtxos": 2})
        items = [generator.spend((coin, 0)) for coin in coins]
        spends, outcomes = await ask_many(client.spend_many, batched(items, MANY), in_flight=CALLERS)
        check_outcomes(report, outcomes, True)
    return {f"daemon, gets, {HUNDRED}": gets, f"daemon, spends, {HUNDRED}": spends}


async def _daemon_singles(report: Report, endpoint: str, generator: Generator, seconds: float) -> Round:
    async with AsyncClient(endpoint) as client:

        async def is_found(txid: bytes) -> bool:
            return await client.get(txid, FIELDS) == {"totalUtxos": 2}

        coins = await _created(report, client, generator, COINS)
        gets, wrong = await ask_singles(is_found, [coin.txid for coin in coins], seconds)
        report.promise(RIGHT, wrong == 0)
        spends = await _each_once(report, client.spend, [generator.spend((coin, 0)) for coin in coins])
    return {f"daemon, gets, {ONE}": gets, f"daemon, spends, {ONE}": spends}


async def _each_once(report: Report, ask: Callable[[Any], Awaitable[bool]], items: Sequence[Any]) -> float:
    """Items per second, by 64 callers."""
    source = iter(items)

    async def caller() -> None:
        for item in source:
            report.promise(RIGHT, await ask(item) is True)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return len(items) / (time.perf_counter() - started)
