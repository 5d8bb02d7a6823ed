"""How long a caller waits for an answer who asks one item at a time: the embedded store, synced and not."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from protocol import Client, CreateItem
from store.transaction import Transaction
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED, EMBEDDED_UNSYNCED, own_daemon

from .load import expect_ok
from .report import RIGHT, Figure, Report

GET_GOAL_MS: Final = 0.6
COINS: Final = 1_000
_WARM_UP: Final = 100
_WORKERS: Final = ["--workers", "1"]


def latency(rounds: int, seconds: float) -> Report:
    """rounds: of each measurement. seconds: of each round, at most; a round of spends ends with its coins."""
    report = Report("latency")
    for store, name in ((EMBEDDED_UNSYNCED, "unsynced"), (EMBEDDED, "synced")):
        with own_daemon(store, _WORKERS) as daemon, Client(daemon.endpoint) as client:
            generator = Generator()
            coins = [_coins(client, generator) for _ in range(rounds)]
            if store == EMBEDDED_UNSYNCED:
                txids = [coin.txid for coin in coins[0]]
                _measure(
                    report, "get", lambda txid: client.get(txid)["txID"] == txid, [txids] * rounds, seconds, GET_GOAL_MS
                )
            spends = [[generator.spend((coin, 0)) for coin in group] for group in coins]
            _measure(report, f"spend, {name}", client.spend, spends, seconds)
    return report


def _coins(client: Client, generator: Generator) -> list[Transaction]:
    coins = [generator.coinbase([1000]) for _ in range(COINS)]
    expect_ok(client.create_many([CreateItem.whole(coin.raw, block_height=1) for coin in coins]))
    return coins


def _measure(
    report: Report,
    name: str,
    question: Callable[[Any], bool],
    rounds: Sequence[Sequence[Any]],
    seconds: float,
    median_goal: float | None = None,
) -> None:
    """Adds p50, p95 and p99 of the answer times, in milliseconds; each is the median of the rounds' own."""
    times = [_round(report, question, items, seconds) for items in rounds]
    for percent in (50, 95, 99):
        goal = median_goal if percent == 50 else None
        values = [sorted(taken)[len(taken) * percent // 100] for taken in times]
        report.figures.append(Figure(f"embedded store, {name}, p{percent}", values, "ms", goal, higher_is_better=False))


def _round(report: Report, question: Callable[[Any], bool], items: Sequence[Any], seconds: float) -> list[float]:
    taken = []
    until = time.perf_counter() + seconds
    for item in items:
        started = time.perf_counter()
        right = question(item)
        ended = time.perf_counter()
        taken.append((ended - started) * 1000)
        report.promise(RIGHT, right)
        if ended > until:
            break
    return taken[_WARM_UP:] if len(taken) > 2 * _WARM_UP else taken
