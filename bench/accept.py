"""Transactions of two inputs and two outputs that come into the set: each by one `accept`, beside the same by separate
calls, in turns."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from protocol import AcceptItem, AsyncClient, CreateItem, Outcome, Spend, utxo_hash
from store.transaction import Transaction
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED_UNSYNCED, own_daemon

from .load import MANY, SINGLE_CALLERS, ask_many, batched, expect_ok
from .report import RIGHT, Limits, Report, Round
from .throughput import WORKERS

ACCEPT: Final = "accept, 64 callers"
ACCEPT_MANY: Final = "accept, 100 a request"
SEPARATELY: Final = "outpoint of both, spend, create, 64 callers"
LIMITS: Final[Limits] = {ACCEPT: {SEPARATELY: None}, ACCEPT_MANY: {SEPARATELY: None}}

_MATURE: Final = 200


def accept(store: str | None, rounds: int, transactions: int) -> Report:
    """store: URL of a set in Aerospike, which is filled; None for an embedded one, not synced. transactions: of each
    way, in each round."""
    report, generator = Report("accept"), Generator(seed=time.time_ns())
    with own_daemon(store or EMBEDDED_UNSYNCED, WORKERS) as daemon:
        measured = [
            asyncio.run(_round(daemon.endpoint, report, generator, transactions, turn)) for turn in range(rounds)
        ]
    report.add(measured, "transactions/s", LIMITS)
    return report


async def _round(endpoint: str, report: Report, generator: Generator, transactions: int, turn: int) -> Round:
    """turn: who is first changes with it."""
    ways: list[tuple[str, Callable[..., Awaitable[tuple[float, list[Any]]]]]] = [
        (ACCEPT, _accept),
        (SEPARATELY, _separately),
        (ACCEPT_MANY, _accept_many),
    ]
    rates: Round = {}
    async with AsyncClient(endpoint, timeout=60.0) as client:
        for name, ask in ways[turn % 3 :] + ways[: turn % 3]:
            payments = await _payments(client, generator, transactions)
            rates[name], outcomes = await ask(client, payments)
            report.promise(RIGHT, len(outcomes) == transactions and all(outcome.ok for outcome in outcomes))
            for some in batched([payment.txid for payment in payments], MANY):
                there = await client.get_many(some, ["totalUtxos"])
                report.promise("each is there, with its outputs", all(one.result == {"totalUtxos": 2} for one in there))
    return rates


async def _payments(client: AsyncClient, generator: Generator, count: int) -> list[Transaction]:
    """Each of two inputs, outputs of two coinbases, which are in the set."""
    coinbases = [generator.coinbase([1000, 1000]) for _ in range(count)]
    for some in batched([CreateItem.whole(coinbase.raw, block_height=1) for coinbase in coinbases], MANY):
        expect_ok(await client.create_many(some))
    return [generator.payment([(coinbases[number - 1], 1), (coinbases[number], 0)]) for number in range(count)]


async def _accept(client: AsyncClient, payments: Sequence[Transaction]) -> tuple[float, list[Any]]:
    async def ask(payment: Transaction) -> list[Outcome[Any]]:
        return [Outcome(await client.accept(payment.raw, block_height=_MATURE))]

    return await ask_many(ask, payments, in_flight=SINGLE_CALLERS)


async def _accept_many(client: AsyncClient, payments: Sequence[Transaction]) -> tuple[float, list[Any]]:
    items = [AcceptItem.of(payment.raw, block_height=_MATURE) for payment in payments]
    return await ask_many(client.accept_many, batched(items, MANY))


async def _separately(client: AsyncClient, payments: Sequence[Transaction]) -> tuple[float, list[Any]]:
    async def ask(payment: Transaction) -> list[Outcome[Any]]:
        outpoints = [(spent.previous_txid, spent.previous_vout) for spent in payment.inputs]
        outputs = [outcome.result for outcome in await client.outpoint_many(outpoints)]
        hashes = [utxo_hash(*outpoint, *output[::-1]) for outpoint, output in zip(outpoints, outputs, strict=True)]
        await client.spend_transaction(
            [
                Spend(*outpoint, hashed, payment.txid, vin, _MATURE)
                for vin, (outpoint, hashed) in enumerate(zip(outpoints, hashes, strict=True))
            ]
        )
        return [Outcome(await client.create(payment.raw, block_height=_MATURE))]

    return await ask_many(ask, payments, in_flight=SINGLE_CALLERS)
