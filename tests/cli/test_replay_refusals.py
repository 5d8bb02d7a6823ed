"""Replays of what does not go in, or not all of it: nothing false is fed, and it is said what is missing, and why."""

import asyncio
import itertools
import json
import os
import signal
import socket
import time

import pytest
from click.testing import CliRunner

from bench.faults import Faults
from protocol import AsyncClient, Client, Spend, utxo_hash
from tests.support.blocks import HARDER, block, chain, coinbase, framed, hash_of, spending, transaction, write
from utxod import feeder
from utxod.commands import cli
from utxod.needs import body_bytes
from utxod.own_daemon import own_daemon
from utxod.replay import plan, replay

COINS = [(1_000, b"\x51")] * 8
TAGS = itertools.count(10_000, 10_000)
TOO_MUCH = 21 * 10**14 + 1  # satoshis


@pytest.fixture(scope="module")
def daemon():
    with own_daemon(arguments=["--workers", "1", "--set", "broker.max_body_bytes=100000"]) as daemon:
        yield daemon


@pytest.fixture
def client(daemon):
    with Client(daemon.endpoint, timeout=30) as client:
        yield client


@pytest.fixture
def fresh():
    """A new tag for every test: they share a set."""
    return next(TAGS)


@pytest.fixture
def coins(fresh, client):
    """A transaction with coins, which is in the set and mature."""
    funding = coinbase(fresh, COINS)
    client.create(funding.raw, block_height=1, mined=[(1, 1, 0)])
    return funding


@pytest.fixture
def replayed(tmp_path, daemon):
    """What a replay of this data says, with its exit code."""

    def run(*parts, height=200, connect=daemon.endpoint):
        file = write(tmp_path / "blk0.dat", *parts)
        arguments = ["replay", str(file), "--json", "--height", str(height)]
        if connect:
            arguments += ["--connect", connect]
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        return result.exit_code, json.loads(result.output.splitlines()[-1])

    return run


def one_block(tag, *transactions):
    """Framed, and on nothing that is known."""
    return framed([block([coinbase(tag), *transactions], tag.to_bytes(32, "little"))])


def is_there(client, transaction):
    return client.get_many([transaction.txid], ["txID"])[0].ok


def spender_of(client, parent, vout=0):
    return client.get(parent.txid, ["utxos"])["utxos"][vout][32:64]


def test_a_stale_branch_is_counted_and_not_fed(fresh, client, replayed):
    trunk = chain(2, fresh.to_bytes(32, "little"), tag=fresh)
    active = chain(1, hash_of(trunk[-1]), tag=fresh + 10, bits=HARDER)
    stale = chain(3, hash_of(trunk[-1]), tag=fresh + 20)
    exit_code, summary = replayed(framed(trunk + stale + active))
    assert (exit_code, summary["blocks"], summary["stale_blocks"], summary["not_in"]) == (0, 3, 3, [])
    assert client.get(coinbase(fresh + 10).txid)["blockHeights"] == [202]
    assert not any(is_there(client, coinbase(fresh + tag)) for tag in (20, 21, 22))


def test_a_branch_with_a_bad_block_loses_and_the_next_best_is_fed(fresh, client, replayed):
    trunk = chain(1, fresh.to_bytes(32, "little"), tag=fresh)
    bad = [block([coinbase(fresh + 10)], hash_of(trunk[0]), bits=HARDER, root=b"\x01" * 32)]
    bad += chain(1, hash_of(bad[0]), tag=fresh + 20)
    good = chain(1, hash_of(trunk[0]), tag=fresh + 30)
    exit_code, summary = replayed(framed(trunk + bad + good))
    assert (exit_code, summary["blocks"], summary["stale_blocks"]) == (1, 2, 0)
    refused, upon = summary["not_in"]
    assert refused.endswith("do not give the merkle root of its header")
    assert upon == "not fed, because they stand on a block that is refused: 1 block"
    assert is_there(client, coinbase(fresh + 30))
    assert not any(is_there(client, coinbase(fresh + tag)) for tag in (10, 20))


def test_of_a_block_that_is_there_twice_the_good_copy_is_fed_and_the_bad_one_named(fresh, client, replayed):
    raw = block([coinbase(fresh, states=200)], fresh.to_bytes(32, "little"), version=2)
    upon = block([coinbase(fresh + 1, states=201)], hash_of(raw), version=2)
    damaged = upon.replace((201).to_bytes(4, "little"), (999).to_bytes(4, "little"))
    for copy in (damaged, upon[:-1] + b"\x01"):
        exit_code, summary = replayed(framed([raw, copy, upon]))
        assert (exit_code, summary["blocks"], len(summary["not_in"])) == (1, 2, 1)
    assert client.get(coinbase(fresh + 1, states=201).txid)["blockHeights"] == [201]
    assert replayed(framed([raw, upon, upon]))[0] == 0


def test_junk_and_a_cut_block_are_named_and_the_others_fed(fresh, client, replayed):
    blocks = chain(3, fresh.to_bytes(32, "little"), tag=fresh)
    exit_code, summary = replayed(framed(blocks[:1]), b"junk", framed(blocks[1:])[:-10])
    assert (exit_code, summary["blocks"], len(summary["not_in"])) == (1, 2, 2)
    assert "the 4 bytes from byte" in summary["not_in"][0]
    assert "is cut short" in summary["not_in"][1]
    assert is_there(client, coinbase(fresh + 1))


def test_the_coinbase_of_the_first_block_is_never_created(client, replayed, daemon):
    first = coinbase(7_777, COINS)
    exit_code, summary = replayed(framed([block([first, spending(first, 7)])]), height=0)
    assert (exit_code, summary["transactions"]) == (1, {"fed": 1, "orphan": 1})
    assert not is_there(client, first)
    known = bytes.fromhex(
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d"
        "65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f7220"
        "62616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f"
        "4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
    )
    header = bytes.fromhex(
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
        "888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
    )
    exit_code, summary = replayed(framed([header + b"\x01" + known]), height=5)
    assert (exit_code, summary["blocks"], summary["transactions"]) == (0, 1, {"fed": 0})


def test_what_is_refused_for_good_spends_nothing_and_what_spends_from_it_is_told_so(fresh, client, coins, replayed):
    refused = spending(coins, 3, outputs=[(TOO_MUCH, b"\x51")])
    child = spending(refused)
    exit_code, summary = replayed(one_block(fresh + 1, refused, child))
    assert exit_code == 1
    assert summary["transactions"] == {"fed": 3, "created": 1, "parent_failed": 1, "refused": 1}
    assert summary["operations"] == {"accept": {"submitted": 3, "ok": 1}}
    why = [line.partition(": transaction ")[2] for line in summary["not_in"]]
    assert why[0].startswith(f"{refused.txid[::-1].hex()}: refused: BAD_REQUEST")
    assert why[1].endswith(f"parent failed: {refused.txid[::-1].hex()}, which it spends, did not go in")
    assert spender_of(client, coins, 3) == b""
    assert summary["parents_not_in_the_set"] == 0


def test_a_rival_is_refused_with_the_code_of_its_input_and_of_what_stood_before_it_is_told(
    fresh, client, coins, replayed
):
    client.accept(spending(coins, 3).raw, block_height=200)
    both = transaction([coins.txid + vout.to_bytes(4, "little") for vout in (3, 4)], [(7, b"\x51")])
    hash_ = utxo_hash(coins.txid, 4, *coins.outputs[4][::-1])
    assert client.spend(Spend(coins.txid, 4, hash_, both.txid, 1, 200))
    exit_code, summary = replayed(one_block(fresh + 1, both))
    assert (exit_code, summary["rejected"]) == (1, {"SPENT": 1})
    assert summary["not_in"][0].endswith("; 1 of its spends stand, from before")
    assert spender_of(client, coins, 4) == both.txid


@pytest.fixture
def faulty(fresh, tmp_path):
    """A daemon with a coin in its set, whose store does as it is told."""
    faults = Faults(tmp_path)
    store = f"faulty+lmdb://{tmp_path / 'store'}?sync=false&faults={faults.file}"
    with own_daemon(store, ["--workers", "1", "--set", "broker.budget_seconds=1"]) as daemon:
        with Client(daemon.endpoint, timeout=30) as client:
            client.accept(coinbase(fresh, COINS).raw, block_height=1, mined=[(1, 1, 0)])
        yield daemon, faults.set


def test_what_meets_a_fault_is_asked_again_until_it_is_in(fresh, faulty, replayed):
    daemon, tell = faulty
    payment = spending(coinbase(fresh, COINS))
    tell(function="spend", kind="raise_after")
    exit_code, summary = replayed(one_block(fresh + 1, payment), connect=daemon.endpoint)
    assert exit_code == 0
    assert summary["operations"] == {"accept": {"submitted": 2, "ok": 2}}
    assert summary["transactions"]["existed"] >= 1  # by the attempt that nobody knew of whether it was executed
    assert (summary["faults"], summary["not_in"]) == ({}, [])
    with Client(daemon.endpoint, timeout=30) as client:
        assert is_there(client, payment)
        assert spender_of(client, coinbase(fresh, COINS)) == payment.txid


def test_of_what_ends_in_a_fault_it_is_said_what_may_stand(fresh, faulty, replayed, monkeypatch):
    monkeypatch.setattr(feeder, "WITHIN_SECONDS", 5.0)
    daemon, tell = faulty
    tell(function="spend", kind="time_out", times=None)
    exit_code, summary = replayed(one_block(fresh + 1, spending(coinbase(fresh, COINS))), connect=daemon.endpoint)
    assert exit_code == 1
    assert summary["transactions"]["failed"] >= 1
    assert "; its spends may stand, and it can be fed again" in summary["not_in"][-1]


def test_of_what_is_too_large_it_is_said_which_limit_it_needs_and_a_daemon_with_that_takes_it(
    fresh, client, coins, replayed
):
    large = spending(coins, 5, outputs=[(500, b"\x51"), (500, b"\x51")], script=bytes(120_000))
    child = spending(large, 1)
    parts = one_block(fresh + 1, large, child)
    exit_code, summary = replayed(parts)
    assert exit_code == 1
    assert summary["transactions"] == {"fed": 3, "created": 1, "parent_failed": 1, "refused": 1}
    needed = body_bytes(large)
    assert f"{large.txid[::-1].hex()}: refused: TOO_LARGE" in summary["not_in"][0]
    assert summary["not_in"][0].endswith(f"it needs broker.max_body_bytes={needed}")
    assert summary["not_in"][-1].endswith("utxod serve --set broker.max_body_bytes=33554432")
    assert spender_of(client, coins, 5) == b""
    with own_daemon(arguments=["--workers", "1", "--set", f"broker.max_body_bytes={needed}"]) as other:
        with Client(other.endpoint, timeout=30) as elsewhere:
            elsewhere.create(coins.raw, block_height=1, mined=[(1, 1, 0)])
        exit_code, summary = replayed(parts, connect=other.endpoint)
    assert (exit_code, summary["transactions"]) == (0, {"fed": 3, "created": 3})


def test_what_is_in_the_set_already_is_in_whatever_this_daemon_would_take(fresh, tmp_path, coins, replayed):
    large = spending(coins, 6, script=bytes(120_000))
    store = f"lmdb://{tmp_path / 'store'}"
    with own_daemon(store, ["--workers", "1"]) as wide:
        with Client(wide.endpoint, timeout=30) as client:
            client.create(coins.raw, block_height=1, mined=[(1, 1, 0)])
        assert replayed(one_block(fresh + 1, large), connect=wide.endpoint)[0] == 0
    with own_daemon(store, ["--workers", "1", "--set", "broker.max_body_bytes=100000"]) as narrow:
        exit_code, summary = replayed(one_block(fresh + 1, large), connect=narrow.endpoint)
        with Client(narrow.endpoint, timeout=30) as client:
            assert spender_of(client, coins, 6) == large.txid
    assert (exit_code, summary["transactions"]) == (0, {"fed": 2, "existed": 2})


def test_a_daemon_of_its_own_takes_a_script_of_41_megabytes_and_what_spends_from_it(tmp_path, replayed):
    funding = coinbase(1, COINS)
    large = spending(funding, outputs=[(1, b"\x51"), (1, b"\x51")], script=bytes(41 << 20))
    blocks = [block([coinbase(2)])]
    for transactions in (
        [funding],
        *([coinbase(tag)] for tag in range(10, 110)),
        [coinbase(3), large, spending(large)],
    ):
        blocks.append(block(transactions, hash_of(blocks[-1])))
    exit_code, summary = replayed(framed(blocks), height=0, connect=None)
    # On a busy machine the large one may be asked for again, and found.
    assert (exit_code, summary["transactions"]["fed"], summary["not_in"]) == (0, 104, [])


def test_a_transaction_may_have_more_inputs_than_the_daemon_takes_items(fresh, replayed):
    with own_daemon(arguments=["--workers", "1", "--set", "broker.max_items=5"]) as narrow:
        funding = coinbase(fresh, COINS)
        with Client(narrow.endpoint, timeout=30) as client:
            client.create(funding.raw, block_height=1, mined=[(1, 1, 0)])
        wide = transaction([funding.txid + vout.to_bytes(4, "little") for vout in range(8)])
        exit_code, summary = replayed(one_block(fresh + 1, wide), connect=narrow.endpoint)
    assert (exit_code, summary["transactions"]) == (0, {"fed": 2, "created": 2})


@pytest.mark.parametrize("connect", ["tcp", "ipc", "ipc that nobody binds"])
def test_a_daemon_that_is_not_there_is_a_line_and_not_a_minute(tmp_path, connect):
    file = write(tmp_path / "blk0.dat", framed(chain(3)))
    endpoint = f"ipc://{tmp_path}/sock"
    with socket.socket() as bound, socket.socket(socket.AF_UNIX) as local:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        if connect == "tcp":
            endpoint = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        elif connect != "ipc":
            local.bind(str(tmp_path / "sock"))
        begun = time.monotonic()
        result = CliRunner().invoke(cli, ["replay", str(file), "--connect", endpoint])
    assert result.exit_code == 4
    assert result.output.startswith(f"Error: no daemon answers at {endpoint}")
    assert len(result.output.splitlines()) == 1
    assert time.monotonic() - begun < 30  # it was 62


def test_a_daemon_that_ends_amid_a_replay_ends_it_with_the_place(tmp_path, monkeypatch):
    monkeypatch.setattr(feeder, "WITHIN_SECONDS", 2.0)
    planned = plan([write(tmp_path / "blk0.dat", framed(chain(50)))], None, seed_missing=False)

    async def run(daemon):
        async with AsyncClient(daemon.endpoint) as client:
            return await replay(client, planned, window=1, progress=lambda size: os.kill(daemon.pid, signal.SIGKILL))

    with own_daemon(arguments=["--workers", "1"]) as daemon:
        summary = asyncio.run(run(daemon))
    assert not summary.all_went_in
    assert summary.fed < 50
    assert "the daemon does not answer any more: from " in summary.not_in()[-1]
    assert "blk0.dat: the block at byte " in summary.not_in()[-1]


def test_a_daemon_that_ends_amid_the_seeding_ends_the_replay_and_nothing_is_said_to_be_seeded(tmp_path, monkeypatch):
    monkeypatch.setattr(feeder, "WITHIN_SECONDS", 2.0)
    payments = [spending(coinbase(tag, [(1_000, b"\x51")]), 0) for tag in range(880_000, 880_030)]
    file = write(tmp_path / "blk0.dat", framed([block([coinbase(880_100), *payments], b"\x88" * 32)]))
    planned = plan([file], 5, seed_missing=True)

    async def run(daemon):
        async with AsyncClient(daemon.endpoint) as client:
            await client.status(timeout=60)
            os.kill(daemon.pid, signal.SIGKILL)
            return await replay(client, planned, window=1, progress=lambda size: None)

    with own_daemon(arguments=["--workers", "1"]) as daemon:
        summary = asyncio.run(run(daemon))
    assert "the daemon does not answer any more: from " in summary.not_in()[-1]
    assert summary.tally.items < 5
    assert (summary.as_map()["seeded"], summary.fed) == (0, 0)


def test_a_daemon_that_ends_is_not_waited_for_by_each_of_a_chain(tmp_path, monkeypatch):
    monkeypatch.setattr(feeder, "WITHIN_SECONDS", 2.0)
    payments = [spending(coinbase(890_000, [(1_000, b"\x51")]), 0)]
    for _ in range(20):
        payments.append(spending(payments[-1], 0))
    file = write(tmp_path / "blk0.dat", framed([block([coinbase(890_100), *payments], b"\x89" * 32)]))
    planned = plan([file], 5, seed_missing=False)

    async def run(daemon):
        async with AsyncClient(daemon.endpoint) as client:
            await client.status(timeout=60)
            os.kill(daemon.pid, signal.SIGKILL)
            return await replay(client, planned, window=256, progress=lambda size: None)

    with own_daemon(arguments=["--workers", "1"]) as daemon:
        summary = asyncio.run(run(daemon))
    assert summary.tally.items < 5
    assert sum(summary.tally.kinds.values()) == 22
    assert "not asked: the daemon does not answer any more" in summary.not_in()[-2]


def test_a_block_that_changes_after_it_was_checked_ends_the_replay_with_its_place(tmp_path, daemon):
    blocks = chain(3, b"\x66" * 32, tag=666_000)
    file = write(tmp_path / "blk0.dat", framed(blocks))
    planned = plan([file], 7, seed_missing=False)
    write(file, framed([*blocks[:2], blocks[2][:-1] + b"\1"]))

    async def run():
        async with AsyncClient(daemon.endpoint) as feeding:
            return await replay(feeding, planned, window=2, progress=lambda size: None)

    summary = asyncio.run(run())
    assert (summary.all_went_in, summary.fed, summary.tally.fates.total()) == (False, 2, 2)
    assert "has changed since it was checked" in summary.not_in()[-1]


def test_what_did_not_go_in_stands_on_stderr_in_whole_lines_and_only_a_few_of_a_kind(tmp_path, daemon):
    tag = 777_000
    orphans = [spending(coinbase(tag + index)) for index in range(1, 21)]
    file = write(tmp_path / "blk0.dat", one_block(tag, *orphans))
    result = CliRunner().invoke(cli, ["replay", str(file), "--height", "9", "--connect", daemon.endpoint])
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0] == "Error: not all went in:"
    assert len([line for line in lines if f"{file}: the block at byte 8: transaction " in line]) == 5
    assert "  and 15 more transactions" in lines
    assert "20" in next(line for line in result.stdout.splitlines() if line.startswith("transactions"))


def test_files_that_hold_nothing_to_feed_are_an_error(tmp_path):
    empty, junk = write(tmp_path / "blk0.dat", b""), write(tmp_path / "blk1.dat", b"hello" * 100)
    for files, named in (([empty], "no block to feed"), ([empty, junk], f"{junk}: holds no block")):
        result = CliRunner().invoke(cli, ["replay", *map(str, files)])
        assert result.exit_code == 1
        assert result.output.startswith("Error: there is no block to feed")
        assert named in result.output
    result = CliRunner().invoke(cli, ["replay", str(tmp_path)])
    assert result.exit_code == 2
    assert "is a directory" in result.output


def test_of_a_file_that_is_all_in_pieces_the_first_places_are_named(fresh, replayed):
    blocks = chain(50, fresh.to_bytes(32, "little"), tag=fresh)
    exit_code, summary = replayed(*(framed([raw]) + b"junk" for raw in blocks))
    assert (exit_code, summary["blocks"], len(summary["not_in"])) == (1, 50, 21)
    assert summary["not_in"][-1] == "and 30 more blocks, or pieces of files"
