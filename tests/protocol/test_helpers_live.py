"""retry, submit and iter_many against a real daemon, also while its workers die and it is started anew."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import AsyncClient, Client, CreateItem, Spend, utxo_hash
from tests.support.daemon import Daemon, running_daemon
from tests.support.patience import until
from tests.support.seven_operations import NOTHING_ENDS_IT

SCRIPT = b"\x51"
HEIGHT = 1


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Daemon]:
    with running_daemon(tmp_path_factory.mktemp("helpers"), NOTHING_ENDS_IT, store_kind) as running:
        running.wait_for_workers(within=60)
        yield running


def txid(kind: int, number: int) -> bytes:
    return bytes([kind]) + number.to_bytes(31, "big")


def creations(kind: int, count: int) -> Iterator[CreateItem]:
    return (CreateItem.partial(txid(kind, n), {0: (n, SCRIPT)}, block_height=HEIGHT) for n in range(count))


def create(client: Client, kind: int, count: int) -> None:
    created = client.retry(client.create_many, creations(kind, count), timeout=60.0, within=100.0)
    assert {outcome.code for outcome in created} == {"OK"}


def spends(kind: int, count: int) -> Iterator[Spend]:
    for n in range(count):
        parent = txid(kind, n)
        yield Spend(parent, 0, utxo_hash(parent, 0, SCRIPT, n), txid(kind + 1, n), 0, HEIGHT)


def test_a_long_input_is_created_spent_and_read_outcome_by_outcome(daemon: Daemon) -> None:
    count = 6000
    with daemon.client(timeout=60) as client:
        assert all(outcome.ok for outcome in client.iter_many(client.create_many, creations(1, count)))
        assert all(outcome.result is True for outcome in client.iter_many(client.spend_many, spends(1, count)))

    async def run() -> None:
        async with AsyncClient(daemon.endpoint, timeout=60) as client:
            assert [o.result async for o in client.iter_many(client.spend_many, spends(1, count))] == [False] * count
            outpoints = ((txid(1, n), 0) for n in range(count))
            found = [o.result.satoshis async for o in client.iter_many(client.outpoint_many, outpoints)]
            assert found == list(range(count))

    asyncio.run(run())


def test_futures_of_many_spends_are_all_settled(daemon: Daemon) -> None:
    count = 2000
    with daemon.client(timeout=60) as client:
        create(client, 3, count)
        futures = [client.submit(client.spend, spend) for spend in spends(3, count)]
        assert [future.result(120) for future in futures] == [True] * count
        assert client.submit(client.spend_many, spends(3, count)).result(120)[0].result is False


def kill_workers(daemon: Daemon) -> None:
    """Three that write, each when there is a next one."""
    killed: set[int] = set()
    for _ in range(3):
        (pid, *_) = until(lambda: set(daemon.workers("write")) - killed, within=60)
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)


def test_what_is_retried_while_workers_die_is_done_once(daemon: Daemon) -> None:
    beside = threading.Thread(target=kill_workers, args=(daemon,))
    with daemon.client(timeout=60) as client:
        create(client, 5, 2000)
        each = list(spends(5, 2000))
        beside.start()
        while beside.is_alive():
            outcomes = client.retry(client.spend_many, each, within=100.0)
            assert {outcome.code for outcome in outcomes} == {"OK"}
        beside.join()
        assert client.retry(client.spend, each[0], within=100.0) is False


def test_what_is_retried_while_the_daemon_is_started_anew_is_done(tmp_path: Path) -> None:
    with running_daemon(tmp_path, NOTHING_ENDS_IT, "lmdb") as first, Client(first.endpoint, timeout=1.0) as client:
        create(client, 7, 500)
        first.kill()
        second = Daemon(tmp_path, NOTHING_ENDS_IT, (), first.store_url)
        try:
            outcomes = client.retry(client.spend_many, spends(7, 500), within=90.0)
            assert {outcome.code for outcome in outcomes} == {"OK"}  # one of them not at once, maybe, and False then
            future = client.submit(client.spend_many, spends(7, 500), timeout=60)
            assert {outcome.result for outcome in future.result(120)} == {False}
            second.end()
        finally:
            second.destroy()
