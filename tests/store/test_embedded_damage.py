"""A record of the embedded store that is damaged on the disk: an error of its own, never absent, harmless to others."""

import struct
from collections.abc import Iterator
from zlib import crc32

import pytest

from store import Mode, Read, RecordOperation, Remove, RuleCall, Status, Store, Write
from tests.support.storing import KEY, OTHER, create, read, run, statuses

BINS = {
    "txID": KEY,
    "totalExtraRecs": 3,
    "spentExtraRecs": 1,
    "locked": False,
    "conflictingCs": [KEY],
    "deletedChildren": {"ab": True},
    "utxos": [b"h" * 32, None],
    "inputs": [b"i" * 40],
    "outputs": [b"o" * 9],
}


SMALL = Read(KEY, ["spentExtraRecs", "conflictingCs"])  # of what a record begins with, and no more is read


@pytest.fixture
def raw(store: Store) -> bytes:
    """What is kept under KEY."""
    create(store, **BINS)
    create(store, OTHER, a=1)
    with store._environment.begin() as transaction:  # type: ignore[attr-defined]
        return bytes(transaction.get(KEY))


def damage(store: Store, content: bytes) -> None:
    with store._environment.begin(write=True) as transaction:  # type: ignore[attr-defined]
        transaction.put(KEY, content)


def asked() -> Iterator[RecordOperation]:
    yield Read(KEY)
    yield SMALL
    yield Read(KEY, ["locked", "utxos"])
    yield Write(KEY, {"a": 1}, Mode.CREATE)
    yield Write(KEY, {"a": 1}, Mode.UPDATE, {"locked": False})
    yield Write(KEY, {"a": 1}, Mode.UPDATE)
    yield RuleCall(KEY, "setLocked", (True, 1000, 288))
    yield RuleCall(KEY, "spend", (0, b"h" * 32, b"s" * 36, False, False, 1000, 288))
    yield Remove(KEY, {"locked": True})


def test_one_that_was_cut_off_or_extended_is_never_absent_and_harms_no_other(store: Store, raw: bytes) -> None:
    for content in [*(raw[:size] for size in range(len(raw))), raw + b"\0", raw + raw]:
        check_damaged(store, content)


def test_one_with_a_single_bit_changed_is_never_absent_nor_another_coin_and_harms_no_other(
    store: Store, raw: bytes
) -> None:
    """Be it in its expiry, a length, a state, a hash, a spender or an output's script."""
    for place in range(len(raw)):
        flipped = raw[place] ^ 1 << place % 8
        check_damaged(store, raw[:place] + bytes([flipped]) + raw[place + 1 :])


def test_one_of_nonsense_is_never_absent_and_harms_no_other(store: Store, raw: bytes) -> None:
    for place in range(len(raw)):
        for byte in {0x00, 0x81, 0xC1, 0xFF} - {raw[place]}:
            check_damaged(store, raw[:place] + bytes([byte]) + raw[place + 1 :])
    for content in (bytes(4), bytes(16), bytes(100), b"\xff" * 24, b"\xc1" * 80):
        check_damaged(store, content)


def test_one_whose_bins_have_other_types_is_damaged_too(store: Store, raw: bytes) -> None:
    """As another program may write it, with the checksum that goes with it."""
    for bins in (b"\xc0", b"\x80", b"\x91\x01", b"\x92\xc0\xa1a", b"\x91", b""):
        head = struct.pack("<6I", 0, len(bins), 0, 0, 0, 0) + bins
        content = b"\0\0\0\0\xff\xff\xff\xff" + struct.pack("<I", crc32(head, crc32(KEY))) + head
        check_damaged(store, content + struct.pack("<I", crc32(content, crc32(KEY))))


def test_one_that_is_kept_under_another_key_is_never_absent_nor_the_coin_of_that_key(store: Store, raw: bytes) -> None:
    """A master's, or that of another child of the same transaction."""
    for key in (bytes(32), KEY + b"\1\0\0\0"):
        create(store, key, **BINS)
        with store._environment.begin() as transaction:  # type: ignore[attr-defined]
            misplaced = bytes(transaction.get(key))
        damage(store, misplaced)
        assert statuses(run(store, SMALL)) == ["ERROR"]
        check_damaged(store, misplaced)


def check_damaged(store: Store, content: bytes) -> None:
    damage(store, content)
    batch = list(asked())
    results = run(store, *batch, Write(OTHER, {"a": len(content)}, Mode.UPDATE))
    for operation, result in zip(batch, results, strict=False):
        if operation is SMALL and result.status is Status.OK:
            assert result.value == {"spentExtraRecs": 1, "conflictingCs": [KEY]}
            continue
        assert (result.status, result.value, result.in_doubt) == (Status.ERROR, None, False), operation
        assert "damaged" in result.message
    assert (results[-1].status, read(store, OTHER)) == ("OK", {"a": len(content)})
    with store._environment.begin() as transaction:  # type: ignore[attr-defined]
        assert transaction.get(KEY) == content


def test_it_can_be_removed(store: Store, raw: bytes) -> None:
    damage(store, raw[:16] + b"\xc1" * 80)
    assert statuses(run(store, Remove(KEY), Read(KEY))) == ["OK", "NOT_FOUND"]
