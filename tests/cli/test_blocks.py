"""A block is what its header vouches for, or it is refused with its place."""

import os
import resource
import struct
import subprocess
import sys

import pytest

from protocol.hashing import varint
from tests.support.blocks import REGTEST, block, coinbase, spending, write
from utxod.block_files import BlockFileError, scan
from utxod.blocks import BadBlockError, read_block
from utxod.import_guard import ROOT


def read(tmp_path, raw):
    (place,) = scan([write(tmp_path / "block.bin", raw)]).places
    return read_block(place)


def several(count):
    first = coinbase(1, outputs=[(1, b"\x51")] * 20)
    return [first, *(spending(first, vout) for vout in range(count - 1))]


@pytest.mark.parametrize("count", range(1, 9))
def test_a_block_gives_its_transactions(tmp_path, count):
    assert read(tmp_path, block(several(count))) == several(count)


@pytest.mark.parametrize(
    "change",
    [lambda txs: txs[:-1], lambda txs: [*txs[1:], txs[0]], lambda txs: [*txs, coinbase(9)]],
    ids=["one less", "another order", "one more"],
)
def test_transactions_that_do_not_give_the_merkle_root_are_refused(tmp_path, change):
    good = block(several(4))
    changed = change(several(4))
    with pytest.raises(BadBlockError, match=r"block.bin: the block at byte 0: .*do not give the merkle root"):
        read(tmp_path, good[:80] + varint(len(changed)) + b"".join(made.raw for made in changed))


@pytest.mark.parametrize(("count", "repeated"), [(3, 1), (5, 1), (6, 2), (7, 1), (5, 3)])
def test_repeated_last_transactions_that_give_the_same_root_are_refused(tmp_path, count, repeated):
    """CVE-2012-2459: a level of odd length pairs its last hash with itself."""
    good = block(several(count))
    longer = several(count) + several(count)[-repeated:]
    with pytest.raises(BadBlockError, match="block at byte 0: "):
        read(tmp_path, good[:80] + varint(len(longer)) + b"".join(made.raw for made in longer))


@pytest.mark.parametrize(
    "body",
    [
        b"\xfd",
        b"\xfe\xff",
        b"\xff" * 5,
        b"\xff" * 9,
        b"\x00",
        b"\x01" + b"\x01\0\0\0" + b"\xff" * 9,
        b"\x01" + b"\x01\0\0\0\x01" + bytes(36) + b"\xff" * 8 + b"\x7f",
        b"\x01" + b"\x01\0\0\0\x01" + bytes(36) + b"\x00" + bytes(4) + b"\xfe\xff\xff\xff\x7f",
        b"\x01" + b"\x01\0\0\0\x01" + bytes(36) + b"\x00" + bytes(4) + b"\x01" + bytes(8) + b"\xff" * 9,
    ],
    ids=lambda body: body.hex()[-12:],
)
def test_malformed_bytes_and_counts_that_claim_anything_are_refused_with_their_place(tmp_path, body):
    with pytest.raises(BadBlockError, match=r"block.bin: the block at byte 0: "):
        read(tmp_path, block([coinbase(1)])[:80] + body)


def test_bytes_after_the_last_transaction_are_refused(tmp_path):
    with pytest.raises(BadBlockError, match="3 bytes after its last transaction"):
        read(tmp_path, block(several(2)) + bytes(3))


def test_witness_data_is_named_for_what_it_is_whatever_height_it_seems_to_state(tmp_path):
    raw = block([coinbase(1, states=7)], version=2)
    (place,) = scan([write(tmp_path / "block.bin", raw[:85] + b"\0\1" + raw[85:])]).places
    assert place.stated_height is None
    with pytest.raises(BlockFileError, match="block at byte 0 carries witness data, which is not read here"):
        read_block(place)


def test_a_file_that_is_cut_or_gone_since_it_was_scanned_is_an_error_with_its_name(tmp_path):
    file = write(tmp_path / "block.bin", block([coinbase(1)]))
    (place,) = scan([file]).places
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(BadBlockError, match="header: truncated"):
        read_block(place)
    file.unlink()
    with pytest.raises(BlockFileError, match=r"block.bin: can't be read: No such file"):
        read_block(place)


def test_a_block_of_less_than_a_transaction_is_none(tmp_path):
    raw = block([coinbase(1)])
    assert scan([write(tmp_path / "block.bin", raw[:80])]).places == []
    with pytest.raises(BadBlockError, match="transaction count: 0"):
        read(tmp_path, raw[:80] + struct.pack("<B", 0))


@pytest.mark.parametrize("framed", [True, False], ids=["in a node's file", "raw"])
@pytest.mark.parametrize("available", ["of the machine", "of the process"])
def test_a_block_larger_than_the_memory_is_refused_with_its_place(tmp_path, framed, available):
    """Its bytes are there, as far as its file says."""
    size = (1 << 40) if available == "of the machine" else (1 << 30)
    frame = REGTEST + b"\xff" * 4 + struct.pack("<Q", size) if framed else b""
    file = write(tmp_path / "blk0.dat", frame, block([coinbase(1)])[:80] + b"\x01")
    os.truncate(file, len(frame) + size)
    command = [sys.executable, "-m", "utxod", "replay", str(file)]
    limit = (lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))) if size == 1 << 30 else None
    ended = subprocess.run(
        command,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=limit,
        timeout=120,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        f"Error: there is no block to feed\n  {file}: the block at byte {len(frame)}: "
        f"its {size:,} bytes are more than the memory here can hold\n"
    )
