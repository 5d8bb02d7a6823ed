"""The embedded store's record: what goes in comes out, and what cannot is named before anything is written."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.lmdb.record import Bins, Damaged, Head, Record, pack_bins

HASH, TXID = b"h" * 32, b"t" * 32
ALL: dict[str, Any] = {
    "txID": TXID,
    "version": 1,
    "locktime": 0,
    "fee": -5,
    "sizeInBytes": 250,
    "extendedSize": 300,
    "isCoinbase": False,
    "createdAt": 1 << 40,
    "totalUtxos": 3,
    "recordUtxos": 2,
    "spentUtxos": 0,
    "totalExtraRecs": 0,
    "spentExtraRecs": 0,
    "spendingHeight": 100,
    "unminedSince": 7,
    "deleteAtHeight": 8,
    "preserveUntil": 9,
    "lockHeight": 10,
    "lockSeq": 11,
    "stateSeq": 12,
    "lastSpentState": "ALLSPENT",
    "conflicting": True,
    "locked": False,
    "creating": True,
    "external": True,
    "blockIDs": [1, 2],
    "blockHeights": [],
    "subtreeIdxs": [0],
    "utxoSpendableIn": {2: 500},
    "deletedChildren": {"ab" * 32: True},
    "joined": {0: [1, 0], 2: [0, 3]},
    "utxos": [HASH, None, HASH + b"s" * 36, b""],
    "inputs": [b"i" * 40],
    "outputs": [b"o" * 9, None],
    "childStates": b"\0\1",
    "conflictingCs": [TXID],
    "reassignments": [{"offset": 1, "utxoHash": HASH}],
    "rest": 3,
    "token": "text",
}


def kept_in(raw: bytes) -> Any:
    return Record.unpack(TXID, raw).read_bins()


def kept(bins: dict[str, Any]) -> Any:
    return kept_in(pack_bins(TXID, bins))


def test_every_bin_comes_out_as_it_went_in() -> None:
    assert set(Bins.__struct_fields__) <= set(ALL)
    assert kept(ALL) == ALL
    assert kept({}) == {}
    for name, value in ALL.items():
        assert kept({name: value}) == {name: value}


def test_only_what_is_asked_for_and_is_there_is_read() -> None:
    record = Record.unpack(TXID, pack_bins(TXID, {"fee": 0, "utxos": [], "token": 1}))
    assert record.read_bins(["fee", "utxos", "token", "locktime", "inputs", "nosuch"]) == {
        "fee": 0,
        "utxos": [],
        "token": 1,
    }
    assert record.read_bins([]) == {}


def test_what_a_record_begins_with_is_all_small_bins_and_its_expiry() -> None:
    head = Head.unpack(TXID, pack_bins(TXID, ALL, expires=5))
    assert (head.read_bins(), head.expires) == (
        {name: value for name, value in ALL.items() if name not in ("utxos", "inputs", "outputs")},
        5,
    )
    assert head.read_bins(["fee", "token", "utxos", "nosuch"]) == {"fee": ALL["fee"], "token": ALL["token"]}


def test_a_bin_that_is_none_is_not_kept() -> None:
    for name in ALL:
        assert kept({**ALL, name: None}) == {other: value for other, value in ALL.items() if other != name}
    assert kept(dict.fromkeys(ALL)) == {}


@pytest.mark.parametrize(
    "bins",
    [
        {"fee": "1"},
        {"fee": 1.0},
        {"fee": 1 << 64},
        {"fee": -(1 << 63) - 1},
        {"txID": "text"},
        {"isCoinbase": 1},
        {"lastSpentState": b"ALLSPENT"},
        {"blockIDs": [1, None]},
        {"blockIDs": 7},
        {"joined": {0: [1]}},
        {"joined": {"0": [1, 2]}},
        {"deletedChildren": {b"ab": True}},
        {"utxos": [HASH + b"s" * 37]},
        {"utxos": ["text"]},
        {"utxos": [7]},
        {"utxos": HASH},
        {"inputs": ["text"]},
        {"outputs": b"bytes"},
        {"a": 1 << 64},
        {"a": [1 << 64]},
        {"a": "\ud800"},
        {"a": object()},
        {"a" * 16: 1},
        {"é" * 8: 1},
    ],
)
def test_what_cannot_be_kept_is_an_error_that_names_the_bin(bins: dict[str, Any]) -> None:
    (name,) = bins
    for others in ({}, {"txID": TXID, "locked": False, "utxos": [HASH], "token": 1}):
        with pytest.raises(ValueError, match=f"^{name}: "):
            pack_bins(TXID, {**others, **bins})


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^1: "):
        pack_bins(TXID, {1: 1})  # type: ignore[dict-item]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(0, 99), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(ALL)) | st.text(max_size=16), VALUES, max_size=4))
def test_whatever_is_written_is_kept_as_it_is_or_refused(bins: dict[str, Any]) -> None:
    try:
        raw = pack_bins(TXID, bins)
    except ValueError:
        return
    assert Record.unpack(TXID, raw).read_bins() == {name: value for name, value in bins.items() if value is not None}


def test_an_output_is_read_and_changed_in_its_slot_alone() -> None:
    utxos = [HASH, None, HASH + b"s" * 36]
    record = Record.unpack(TXID, pack_bins(TXID, {"utxos": utxos, "outputs": [b"o"]}))
    assert [record.utxo(offset) for offset in range(-1, 4)] == [None, *utxos, None]
    record.set_utxo(0, HASH + b"z" * 36)
    record.set_utxo(2, HASH)
    changed = Record.unpack(TXID, record.pack(TXID))
    assert changed.read_bins() == {"utxos": [HASH + b"z" * 36, None, HASH], "outputs": [b"o"]}
    assert Record.unpack(TXID, pack_bins(TXID, {"fee": 1})).utxo(0) is None


@pytest.mark.parametrize("utxos", [[HASH], [HASH + b"s" * 36, None, HASH], []])
def test_outputs_that_are_no_utxos_take_no_room_at_the_end_of_a_record(utxos: list[bytes | None]) -> None:
    few, many = (pack_bins(TXID, {"utxos": utxos + [None] * more, "outputs": [b"o"]}) for more in (0, 128))
    assert len(many) == len(few)
    record = Record.unpack(TXID, many)
    assert [record.utxo(offset) for offset in range(len(utxos) + 128)] == utxos + [None] * 128
    record.bins.fee = 1
    assert kept_in(record.pack(TXID)) == {"utxos": utxos + [None] * 128, "outputs": [b"o"], "fee": 1}


@pytest.mark.parametrize("other", [b"T" + TXID[1:], TXID + b"\1\0\0\0", b""])
def test_under_another_key_it_is_damaged(other: bytes) -> None:
    for key, stranger in ((TXID, other), (other, TXID)):
        raw = pack_bins(key, ALL)
        for part in (Record, Head):
            assert part.unpack(key, raw).read_bins(["fee"]) == {"fee": ALL["fee"]}
            with pytest.raises(Damaged):
                part.unpack(stranger, raw)


def test_to_a_program_of_before_it_is_damaged_and_has_not_expired() -> None:
    """Such a program, once it has adopted the set: it reads an expiry and a length first."""
    for raw in (pack_bins(TXID, {}), pack_bins(TXID, ALL, expires=5)):
        expires, length = struct.unpack_from("<II", raw)
        assert expires == 0
        assert length > len(raw)


def test_its_expiry_is_kept() -> None:
    record = Record.unpack(TXID, pack_bins(TXID, {"token": 1}, expires=4_000_000_000))
    assert Record.unpack(TXID, record.pack(TXID)).expires == 4_000_000_000


@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_are_damaged(raw: bytes) -> None:
    for part in (Record, Head):
        with pytest.raises(Damaged):
            part.unpack(TXID, raw)


def test_the_bytes_are_those_of_the_layout() -> None:
    """A field that moves makes every record that is kept another one: a new one goes to the end."""
    names = list(ALL)
    assert Bins.__struct_fields__[:32] == (*names[: names.index("joined") + 1], "rest")
    utxos = [b"\x11" * 32, None, b"", None]
    assert pack_bins(TXID, {"version": 2, "utxos": utxos, "token": 3}).hex() == "".join(
        (
            "00000000", "ffffffff", "006b6735",
            "00000000", "2a000000", "04000000", "03000000", "00000000", "00000000",
            "dc0020", "c002", "c0" * 29, "81a5746f6b656e03",
            "20", "11" * 32, "00" * 36,
            "ff", "00" * 68,
            "00", "00" * 68,
            "b84cdbc9",
        )
    )  # fmt: skip
