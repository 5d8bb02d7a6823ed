"""How long a caller waits for an answer who asks one item at a time: the embedded store, synced and not; beside a bare
relay of messages, and LMDB's own commit where it is synced."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from protocol import Client, CreateItem
from store.transaction import Transaction
from utxod.generate import Generator
from utxod.own_daemon import EMBEDDED, EMBEDDED_UNSYNCED, own_daemon

from .limits import lmdb, relay
from .load import PATIENT_SECONDS, expect_ok
from .report import RIGHT, Limits, Report, Round

GET: Final = "embedded store, get"
SPEND: Final = "embedded store, spend, unsynced"
SPEND_SYNCED: Final = "embedded store, spend, synced"
RELAY: Final = "bare relay, there and back"
COMMIT: Final = "LMDB, synced commit of one put"
PERCENTS: Final = (50, 95, 99)
GET_GOAL: Final = 2.2  # of the relay's p50
COINS: Final = 1_000
_WARM_UP: Final = 100
_WORKERS: Final = ["--workers", "1"]


def latency(rounds: int, seconds: float) -> Report:
    """rounds: of each measurement. seconds: of each round, at most; a round of spends ends with its coins."""
    report = Report("latency")
    generator = Generator()
    with _client(EMBEDDED_UNSYNCED) as client, relay.relay() as messages:
        unsynced = [_unsynced(report, client, generator, messages, seconds) for _ in range(rounds)]
    with _client(EMBEDDED) as client, lmdb.opened() as database:
        synced = [_synced(report, client, generator, database, seconds) for _ in range(rounds)]
    measured = [one | other for one, other in zip(unsynced, synced, strict=True)]
    report.add(measured, "ms", _limits(), higher_is_better=False)
    return report


@contextlib.contextmanager
def _client(store: str) -> Iterator[Client]:
    with own_daemon(store, _WORKERS) as daemon, Client(daemon.endpoint, timeout=PATIENT_SECONDS) as client:
        yield client


def _unsynced(report: Report, client: Client, generator: Generator, messages: relay.Relay, seconds: float) -> Round:
    coins = _coins(client, generator)
    txids = [coin.txid for coin in coins]
    spends = [generator.spend((coin, 0)) for coin in coins]
    return (
        _percentiles(GET, _times(report, lambda txid: client.get(txid)["txID"] == txid, txids, seconds))
        | _percentiles(RELAY, messages.round_trips(relay.ITEM_BYTES, seconds))
        | _percentiles(SPEND, _times(report, client.spend, spends, seconds))
    )


def _synced(report: Report, client: Client, generator: Generator, database: lmdb.Lmdb, seconds: float) -> Round:
    spends = [generator.spend((coin, 0)) for coin in _coins(client, generator)]
    return _percentiles(SPEND_SYNCED, _times(report, client.spend, spends, seconds)) | _percentiles(
        COMMIT, database.commits(seconds)
    )


def _limits() -> Limits:
    return {
        f"{name}, p{percent}": {f"{limit}, p{percent}": GET_GOAL if name == GET and percent == 50 else None}
        for name, limit in ((GET, RELAY), (SPEND, RELAY), (SPEND_SYNCED, COMMIT))
        for percent in PERCENTS
    }


def _coins(client: Client, generator: Generator) -> list[Transaction]:
    coins = [generator.coinbase([1000]) for _ in range(COINS)]
    expect_ok(client.create_many([CreateItem.whole(coin.raw, block_height=1) for coin in coins]))
    return coins


def _percentiles(name: str, taken: Sequence[float]) -> Round:
    """Of one round's answer times, without those in which everything was new."""
    times = sorted(taken[_WARM_UP:] if len(taken) > 2 * _WARM_UP else taken)
    return {f"{name}, p{percent}": times[len(times) * percent // 100] for percent in PERCENTS}


def _times(report: Report, question: Callable[[Any], bool], items: Sequence[Any], seconds: float) -> list[float]:
    """Milliseconds of each answer."""
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
    return taken
