"""Blocks out of files: raw ones, a node's own, and what is none."""

import os
import random
import struct
from pathlib import Path

import pytest

from store.transaction import iter_block
from tests.support.blocks import MAIN, REGTEST, chain, framed, hash_of, write
from utxod.block_files import MAGICS, BlockFileError, scan
from utxod.blocks import BadBlockError, read_block
from utxod.chain import active_chain

REAL_BLOCKS = Path(os.environ.get("UTXOD_BLOCKS", Path(__file__).resolve().parents[2].parent / "shared" / "blocks"))


def contents(found):
    return [place.read() for place in found.places]


def fault_of(place):
    try:
        read_block(place)
    except (BadBlockError, BlockFileError) as error:
        return str(error)


def xored(data, key):
    return bytes(byte ^ key[index % len(key)] for index, byte in enumerate(data))


def test_a_raw_block_is_found_as_it_is(tmp_path):
    (raw,) = chain(1)
    (place,) = scan([write(tmp_path / "block.bin", raw)]).places
    assert (place.hash, place.size, place.read()) == (hash_of(raw), len(raw), raw)


@pytest.mark.parametrize("magic", MAGICS, ids=MAGICS.get)
@pytest.mark.parametrize("gap", [b"", bytes(3), bytes(70_000)], ids=["close", "3 zeros", "70,000 zeros"])
def test_a_nodes_own_file_gives_all_its_blocks_whatever_zeros_lie_between(tmp_path, magic, gap):
    blocks = chain(3)
    found = scan([write(tmp_path / "blk00000.dat", framed(blocks, magic, gap))])
    assert (contents(found), found.skipped) == (blocks, [])


def test_an_empty_or_preallocated_file_holds_no_blocks(tmp_path):
    found = scan([write(tmp_path / "blk1.dat", b""), write(tmp_path / "blk2.dat", bytes(100_000))])
    assert (found.places, found.skipped) == ([], [])


def test_a_size_of_64_bits_is_read_as_large_blocks_have_it(tmp_path):
    blocks = chain(3)
    large = MAIN + b"\xff" * 4 + struct.pack("<Q", len(blocks[1])) + blocks[1]
    found = scan([write(tmp_path / "blk0.dat", framed(blocks[:1], MAIN), large, framed(blocks[2:], MAIN))])
    assert (contents(found), found.skipped) == (blocks, [])


@pytest.mark.parametrize("key", [bytes(range(1, 9)), REGTEST * 2, REGTEST[1:] + bytes(5)], ids=bytes.hex)
def test_an_obfuscated_directory_is_decoded_with_its_key_and_what_is_plain_in_it_stays(tmp_path, key):
    """Space that a node has set aside is zeros in an obfuscated file, too; and so may be a magic that is obfuscated."""
    blocks = chain(6)
    write(tmp_path / "xor.dat", key)
    data = framed(blocks[:2]) + b"\0" * 5 + framed(blocks[2:3])
    first = write(tmp_path / "blk0.dat", xored(data, key), bytes(100_000))
    gap = len(data) - len(framed(blocks[2:3])) - 5
    with first.open("r+b") as file:
        file.seek(gap)
        file.write(bytes(5))
    second = write(tmp_path / "blk1.dat", framed(blocks[3:5]))
    third = write(tmp_path / "block.bin", blocks[5])
    found = scan([first, second, third])
    assert (contents(found), found.skipped) == (blocks, [])


def test_a_key_of_zeros_obfuscates_nothing_and_one_that_is_none_is_named(tmp_path):
    blocks = chain(2)
    file = write(tmp_path / "blk0.dat", framed(blocks))
    write(tmp_path / "xor.dat", bytes(8))
    assert contents(scan([file])) == blocks
    obfuscated = write(tmp_path / "blk1.dat", xored(framed(blocks), b"\x5a" * 8))
    write(tmp_path / "xor.dat", b"\x5a" * 7)
    with pytest.raises(BlockFileError, match=r"xor.dat: a key has 8 bytes, and this file 7"):
        scan([obfuscated])
    (tmp_path / "xor.dat").unlink()
    (skipped,) = scan([obfuscated]).skipped
    assert skipped.startswith(f"{obfuscated}: holds no block")
    assert "xor.dat must lie beside" in skipped


@pytest.mark.parametrize("kind", ["fifo", "endless", "directory", "long", "itself"])
def test_a_key_that_is_no_file_of_8_bytes_is_named_and_not_read(tmp_path, kind):
    obfuscated = write(tmp_path / "blk0.dat", xored(framed(chain(1)), b"\x5a" * 8))
    key = tmp_path / "xor.dat"
    {
        "fifo": lambda: os.mkfifo(key),
        "endless": lambda: key.symlink_to("/dev/zero"),
        "directory": key.mkdir,
        "long": lambda: (key.touch(), os.truncate(key, 1 << 40)),
        "itself": lambda: key.symlink_to(key),
    }[kind]()
    why = {"long": "a key has 8 bytes, and this file 1,099,511,627,776", "itself": "can't be read: Too many levels"}
    with pytest.raises(BlockFileError, match=f"^{key}: {why.get(kind, 'is no regular file')}"):
        scan([obfuscated])


@pytest.mark.parametrize("junk", [b"x", b"damage!!", REGTEST, REGTEST + b"\xff" * 200, b"\xff" * (3 << 20)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_junk_between_blocks_is_skipped_and_its_place_named(tmp_path, junk, place):
    blocks = chain(2)
    parts = [framed([raw]) for raw in blocks]
    parts.insert(place, junk)
    file = write(tmp_path / "blk0.dat", *parts)
    found = scan([file])
    assert contents(found) == blocks
    begins = sum(map(len, parts[:place]))
    assert found.skipped == [f"{file}: the {len(junk):,} bytes from byte {begins} on are no block"]


@pytest.mark.parametrize("lost", [1, 50])
def test_a_last_block_that_is_cut_is_skipped_and_its_place_named(tmp_path, lost):
    blocks = chain(3)
    whole = framed(blocks)
    file = write(tmp_path / "blk0.dat", whole[:-lost])
    found = scan([file])
    assert contents(found) == blocks[:2]
    there = len(blocks[2]) - lost
    begins = len(whole) - len(blocks[2])
    if there > 80:
        cut = f"{file}: the block at byte {begins} is cut short: {there} of its {len(blocks[2])} bytes are there"
    else:
        cut = f"{file}: the {there + 8} bytes from byte {begins - 8} on are no block"
    assert found.skipped == [cut]


@pytest.mark.parametrize("lost", [1, 10, 50, 130])
def test_a_block_that_is_cut_amid_a_file_takes_no_other_with_it(tmp_path, lost):
    blocks = chain(4)
    parts = [framed([raw]) for raw in blocks]
    file = write(tmp_path / "blk0.dat", parts[0], parts[1][:-lost], *parts[2:])
    found = scan([file])
    good = [raw for raw in contents(found) if raw in blocks]
    assert good == [blocks[0], *blocks[2:]]


def test_a_claim_of_gigabytes_reads_none(tmp_path):
    (raw,) = chain(1)
    for size in (struct.pack("<I", 0xFFFFFFFE), b"\xff" * 12):
        file = write(tmp_path / "blk0.dat", REGTEST, size, raw)
        found = scan([file])
        assert found.places == []
        assert "is cut short" in found.skipped[0]


def test_a_file_without_a_block_is_skipped_and_named(tmp_path):
    (raw,) = chain(1)
    for name, data in [
        ("junk.bin", b"hello world" * 30),
        ("zeros-first.bin", bytes(500) + b"x"),
        ("header.bin", raw[:80]),
        ("worthless.dat", framed([b"\xff" * 100])),
    ]:
        file = write(tmp_path / name, data)
        found = scan([file, write(tmp_path / "good.bin", raw)])
        assert contents(found) == [raw]
        (skipped,) = found.skipped
        assert skipped.startswith((f"{file}: holds no block", f"{file}: the {len(data)} bytes from byte 0 on are no"))


def test_what_is_no_file_is_an_error_that_names_it(tmp_path):
    for path in ("/dev/zero", str(tmp_path)):
        with pytest.raises(BlockFileError, match=f"{path}: is no regular file"):
            scan([Path(path)])


def test_whatever_bytes_a_file_holds_every_fault_has_a_place(tmp_path):
    chance = random.Random(5)
    whole = framed(chain(5))
    file = tmp_path / "blk0.dat"
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 3, 30])):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 0xFD, 0xFF, chance.randrange(256)])
        file.write_bytes(damaged[: chance.randrange(1, len(damaged) + 1)])
        found = scan([file])
        assert all(str(file) in skipped for skipped in found.skipped)
        for place in found.places:
            if (fault := fault_of(place)) is not None:
                assert fault.startswith(f"{file}: the block at byte {place.offset}")


@pytest.mark.skipif(not REAL_BLOCKS.is_dir(), reason="the real blocks are not beside the checkout (or UTXOD_BLOCKS)")
def test_real_blocks_state_their_height_and_hash():
    blocks = {place.hash: place for place in scan(sorted(REAL_BLOCKS.glob("*.bin"))).places}
    ordered = active_chain(blocks).blocks
    assert [(place.hash[::-1].hex() + ".bin", height) for place, height in ordered] == [
        ("0000000000000000015594853418b4093c4be4ad8b77fec88b5400feb3268fc4.bin", 379_389),
        ("00000000000000000ad4cd15bbeaf6cb4583c93e13e311f9774194aadea87386.bin", 384_189),
    ]
    assert [len(list(iter_block(place.read()))) for place, _ in ordered] == [485, 564]
