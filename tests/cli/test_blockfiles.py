"""Blocks out of files: raw ones, a node's own, and what is none."""

import os
import struct
from pathlib import Path

import pytest

from store.transaction import iter_block
from utxod.blockfiles import MAGICS, BlockFileError, in_chain_order, scan
from utxod.generate import Generator, block, double_sha256

REAL_BLOCKS = Path(os.environ.get("UTXOD_BLOCKS", Path(__file__).resolve().parents[2].parent / "shared" / "blocks"))
MAIN = bytes.fromhex("f9beb4d9")


def chain(length):
    """Blocks of one coinbase each, one upon the other; and their hashes."""
    generator = Generator()
    blocks, hashes, previous = [], [], bytes(32)
    for _ in range(length):
        blocks.append(block([generator.coinbase([1000])], previous))
        previous = double_sha256(blocks[-1][:80])
        hashes.append(previous)
    return blocks, hashes


def framed(blocks, magic=MAIN, gap=b""):
    return b"".join(magic + struct.pack("<I", len(raw)) + raw + gap for raw in blocks)


def write(path, data):
    path.write_bytes(data)
    return path


def test_a_raw_block_is_found_as_it_is(tmp_path):
    (raw,), (hash_,) = chain(1)
    (place,) = scan([write(tmp_path / "block.bin", raw)])
    assert (place.hash, place.size, place.read()) == (hash_, len(raw), raw)


@pytest.mark.parametrize("magic", MAGICS, ids=MAGICS.get)
@pytest.mark.parametrize("gap", [b"", bytes(3), bytes(70_000)], ids=["close", "3 zeros", "70,000 zeros"])
def test_a_nodes_own_file_gives_all_its_blocks_whatever_zeros_lie_between(tmp_path, magic, gap):
    blocks, _ = chain(3)
    places = scan([write(tmp_path / "blk00000.dat", framed(blocks, magic, gap))])
    assert [place.read() for place in places] == blocks


def test_blocks_in_any_order_and_any_file_come_in_the_order_of_their_chain_each_once(tmp_path):
    blocks, hashes = chain(5)
    first = write(tmp_path / "blk00000.dat", framed([blocks[3], blocks[0], blocks[4]]))
    second = write(tmp_path / "blk00001.dat", framed([blocks[2], blocks[1], blocks[3]]))
    ordered = in_chain_order(scan([first, second]), default_height=100)
    assert [(place.hash, height) for place, height in ordered] == list(zip(hashes, range(100, 105), strict=True))


def test_an_empty_or_preallocated_file_holds_no_blocks(tmp_path):
    assert scan([write(tmp_path / "blk1.dat", b""), write(tmp_path / "blk2.dat", bytes(100_000))]) == []


def test_an_obfuscated_file_is_named_as_such(tmp_path):
    (raw,), _ = chain(1)
    file = write(tmp_path / "blk00000.dat", bytes(byte ^ 0x5A for byte in framed([raw])))
    with pytest.raises(BlockFileError, match=r"blk00000.dat: .*obfuscated"):
        scan([file])
    write(tmp_path / "xor.dat", b"\x5a" * 8)
    with pytest.raises(BlockFileError, match=r"obfuscated with the key in .*xor.dat"):
        scan([file])


def test_what_is_no_block_is_an_error_that_names_the_file_and_the_place(tmp_path):
    (raw,), _ = chain(1)
    for name, data, message in [
        ("junk.bin", b"hello world" * 30, "junk.bin: .*no proof of work"),
        ("zeros-first.bin", bytes(500) + b"x", "zeros-first.bin: .*no proof of work"),
        ("header.bin", raw[:80], "header.bin: .*no block"),
        ("cut.dat", framed([raw])[:-1], "cut.dat: the block at byte 0 is cut short"),
        ("torn.dat", framed([raw]) + b"\xf9\xbe", r"torn.dat: no block begins at byte \d+"),
        ("damaged.dat", framed([raw]) + b"damage!!", r"damaged.dat: no block begins at byte \d+"),
        ("worthless.dat", framed([b"\xff" * 100]), "byte 8 is no block"),
    ]:
        with pytest.raises(BlockFileError, match=message):
            scan([write(tmp_path / name, data)])


@pytest.mark.skipif(not REAL_BLOCKS.is_dir(), reason="the real blocks are not beside the checkout (or UTXOD_BLOCKS)")
def test_real_blocks_state_their_height_and_hash():
    ordered = in_chain_order(scan(sorted(REAL_BLOCKS.glob("*.bin"))), default_height=0)
    assert [(place.hash[::-1].hex() + ".bin", height) for place, height in ordered] == [
        ("0000000000000000015594853418b4093c4be4ad8b77fec88b5400feb3268fc4.bin", 379_389),
        ("00000000000000000ad4cd15bbeaf6cb4583c93e13e311f9774194aadea87386.bin", 384_189),
    ]
    assert [len(list(iter_block(place.read()))) for place, _ in ordered] == [485, 564]
