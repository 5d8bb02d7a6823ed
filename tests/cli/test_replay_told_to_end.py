"""Replays that are told to end before all is fed: what is under way is finished, and the rest is named."""

import contextlib
import itertools
import json
import os
import signal

import pytest
from click.testing import CliRunner

from protocol import Client
from tests.support.blocks import block, chain, coinbase, framed, hash_of, spending, write
from utxod.commands import cli
from utxod.own_daemon import own_daemon

TAGS = itertools.count(10_000, 10_000)


@pytest.fixture(scope="module")
def daemon():
    with own_daemon(arguments=["--workers", "1"]) as daemon:
        yield daemon


@pytest.fixture
def fresh():
    """A new tag for every test: they share a set."""
    return next(TAGS)


@pytest.fixture
def coins(fresh):
    return coinbase(fresh, [(1_000, b"\x51")] * 8)


def fund(client, coins):
    client.create(coins.raw, block_height=1, mined=[(1, 1, 0)])


def half_done(client, coins, payments):
    """Those of the payments whose spends stand though they are not in the set."""
    spenders = [client.get(coins.txid, ["utxos"])["utxos"][vout][32:64] for vout in range(len(payments))]
    there = [found.ok for found in client.get_many([payment.txid for payment in payments], ["txID"])]
    return [
        payment
        for payment, spender, is_there in zip(payments, spenders, there, strict=True)
        if (spender == payment.txid) != is_there
    ]


@pytest.fixture
def signalled(tmp_path, monkeypatch):
    """A replay of payments that is sent a signal while the first of them are under way, once or several times: its exit
    code and its output."""

    def run(coins, tag, number, times, *arguments):
        payments = [spending(coins, vout) for vout in range(8)]
        blocks = [block([coinbase(tag), *payments], tag.to_bytes(32, "little"))]
        blocks += chain(50, hash_of(blocks[0]), tag=tag + 1)
        file = write(tmp_path / "blk0.dat", framed(blocks))
        left = list(range(times))

        @contextlib.contextmanager
        def bar(text, total):
            yield lambda size: text == "replaying" and left and (left.pop(), os.kill(os.getpid(), number))

        monkeypatch.setattr("utxod.rendering.byte_progress", bar)
        before = signal.signal(number, lambda number, frame: pytest.fail("nobody waits for this signal"))
        try:
            result = CliRunner().invoke(cli, ["replay", str(file), "--height=200", "--window=9", "--json", *arguments])
            assert left == []
            assert not isinstance(signal.getsignal(number), signal.Handlers)
        finally:
            signal.signal(number, before)
        return result, payments

    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_replay_that_is_told_to_end_finishes_what_is_under_way_and_says_so(fresh, daemon, coins, signalled, number):
    with Client(daemon.endpoint, timeout=30) as client:
        fund(client, coins)
        result, payments = signalled(coins, fresh + 100, number, 1, "--connect", daemon.endpoint)
        assert half_done(client, coins, payments) == []
    assert result.exit_code == 128 + number
    summary = json.loads(result.stdout)
    assert summary["not_in"] == ["interrupted: what follows was not fed"]
    assert 0 < summary["transactions"]["fed"] < 59


def test_a_replay_with_a_daemon_of_its_own_leaves_no_spend_without_its_transaction(fresh, tmp_path, coins, signalled):
    store = f"lmdb://{tmp_path / 'store'}"
    with own_daemon(store, ["--workers", "1"]) as before, Client(before.endpoint, timeout=30) as client:
        fund(client, coins)
    result, payments = signalled(coins, fresh + 100, signal.SIGTERM, 1, "--store", store)
    assert (result.exit_code, json.loads(result.stdout)["not_in"]) == (143, ["interrupted: what follows was not fed"])
    with own_daemon(store, ["--workers", "1"]) as after, Client(after.endpoint, timeout=30) as client:
        assert half_done(client, coins, payments) == []


def test_a_replay_that_is_told_to_end_a_second_time_ends_at_once(fresh, daemon, coins, signalled):
    result, _ = signalled(coins, fresh + 100, signal.SIGTERM, 2, "--connect", daemon.endpoint)
    assert (result.exit_code, result.output) == (143, "")
