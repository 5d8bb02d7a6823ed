"""Replays: block files fed to a real daemon, in the order of dependencies, twice."""

import json
import random
import struct
from itertools import pairwise

import pytest
from click.testing import CliRunner

from tests.support.blocks import REAL_BLOCKS, coinbase, needs_real_blocks, write
from tests.support.blocks import block as make_block
from utxod.blocks import in_dependency_order
from utxod.commands import cli
from utxod.generate import COIN, Generator, block, double_sha256
from utxod.own_daemon import own_daemon
from utxod.replay import made_up_output, plan


def economy(payments=200, rival_every=0):
    generator = Generator()
    funding = generator.coinbase([COIN] * 50)
    coins = [(funding, vout) for vout in range(50)]
    return funding, list(generator.economy(payments, coins, rival_every))


def replayed(*arguments):
    result = CliRunner().invoke(cli, ["replay", *map(str, arguments), "--json"], catch_exceptions=False)
    return result.exit_code, json.loads(result.output.splitlines()[-1])


@pytest.fixture
def block_files(tmp_path):
    """A coinbase with fifty outputs at height 1; payments of it at height 102, shuffled; each in a file of its own."""
    funding, payments = economy()
    random.Random(7).shuffle(payments)
    generator = Generator(2)
    raw = [block([generator.coinbase([1])])]
    raw.append(block([funding], double_sha256(raw[-1][:80])))
    for _ in range(100):
        raw.append(block([generator.coinbase([1])], double_sha256(raw[-1][:80])))
    raw.append(block([generator.coinbase([1]), *payments], double_sha256(raw[-1][:80])))
    early, late = tmp_path / "blk00000.dat", tmp_path / "blk00001.dat"
    magic = bytes.fromhex("fabfb5da")
    framed = [magic + struct.pack("<I", len(block)) + block for block in raw]
    early.write_bytes(b"".join(framed[51:]))
    late.write_bytes(b"".join(framed[:51]))
    return early, late


def test_parents_come_before_children_however_a_block_holds_them():
    _, payments = economy()
    shuffled = random.Random(3).sample(payments, len(payments))
    ordered = list(in_dependency_order(shuffled))
    place = {transaction.txid: index for index, transaction in enumerate(ordered)}
    assert sorted(place) == sorted(transaction.txid for transaction in payments)
    for transaction in ordered:
        for spent in transaction.inputs:
            assert place.get(spent.previous_txid, -1) < place[transaction.txid]


def test_what_is_made_up_for_a_parent_is_the_same_every_time():
    assert made_up_output(b"\1" * 32, 3) == made_up_output(b"\1" * 32, 3)
    assert made_up_output(b"\1" * 32, 3) != made_up_output(b"\1" * 32, 4)
    satoshis, script = made_up_output(b"\1" * 32, 3)
    assert satoshis > 0
    assert len(script) == 25


def test_parents_from_outside_are_those_that_no_block_of_the_files_holds(block_files):
    early, late = block_files
    assert plan([early, late], 0, seed_missing=True).outside == {}
    outside = plan([early], 0, seed_missing=True).outside
    assert [len(vouts) for vouts in outside.values()] == [50]


def test_heights_rise_along_the_chain_from_where_the_first_block_is_put(block_files):
    heights = [height for _, height in plan(block_files, 700, seed_missing=False).blocks]
    assert heights[0] == 700
    assert all(later == earlier + 1 for earlier, later in pairwise(heights))


def test_a_second_replay_finds_everything_there_and_changes_nothing(block_files, store_url):
    with own_daemon(store_url, ["--workers", "1"]) as daemon:
        first_exit, first = replayed(*block_files, "--connect", daemon.endpoint)
        second_exit, second = replayed(*block_files, "--connect", daemon.endpoint)
    assert (first_exit, second_exit) == (0, 0)
    assert first["transactions"] == {"fed": 302, "created": 302}  # the coinbase of the first block is none of them
    assert first["submitted"] == first["ok"] == 302
    assert first["inputs"] == {"spent_now": 400, "spent_before": 0}
    assert (first["rejected"], first["faults"], first["unanswered"]) == ({}, {}, 0)
    assert second["transactions"] == {"fed": 302, "existed": 302}
    assert second["rejected"] == {}
    assert second["inputs"] == {"spent_now": 0, "spent_before": 400}
    assert second["operations"] == {"accept": {"submitted": 302, "ok": 302}}


def test_parents_that_are_not_in_the_set_are_counted_and_seeded_where_that_is_asked_for(block_files):
    early, _ = block_files
    exit_code, without = replayed(early, "--height", "200")
    assert exit_code == 1
    assert without["transactions"]["orphan"] == 200
    assert any("is not in the set" in line for line in without["not_in"])
    assert without["parents_not_in_the_set"] > 0
    exit_code, seeded = replayed(early, "--height", "200", "--seed-missing")
    assert exit_code == 0
    assert seeded["seeded"] == 1
    assert seeded["transactions"] == {"fed": 252, "created": 252}
    assert seeded["parents_not_in_the_set"] == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-3], "locktime: truncated"),
        (lambda raw: raw[:85] + b"\0\1" + raw[85:], "witness data"),
        (lambda raw: raw[:80] + b"\xfd", "transaction count: truncated"),
    ],
    ids=["cut short", "segregated witness", "81 bytes"],
)
def test_a_file_without_a_block_that_can_be_read_is_an_error_with_its_place_and_no_traceback(tmp_path, damage, message):
    file = write(tmp_path / "block.bin", damage(make_block([coinbase(1)])))
    result = CliRunner().invoke(cli, ["replay", str(file)])
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert f"{file}: the block at byte 0" in result.output
    assert message in result.output
    assert isinstance(result.exception, SystemExit)


@needs_real_blocks
def test_real_blocks_spend_every_input_once_and_a_second_time_nothing(store_url):
    files = sorted(REAL_BLOCKS.glob("*.bin"))
    with own_daemon(store_url, ["--workers", "2"]) as daemon:
        _, first = replayed(*files, "--seed-missing", "--connect", daemon.endpoint)
        _, second = replayed(*files, "--seed-missing", "--connect", daemon.endpoint)
    assert first["unanswered"] == second["unanswered"] == 0
    assert first["transactions"] == {"fed": 1049, "created": 1049}
    assert first["inputs"] == {"spent_now": 5590, "spent_before": 0}
    assert (first["rejected"], first["faults"]) == ({}, {})
    assert second["transactions"] == {"fed": 1049, "existed": 1049}
    assert second["inputs"] == {"spent_now": 0, "spent_before": 5590}
