"""Freezing, reassigning, and noting conflicts."""

from typing import Any

import pytest
from ruled import FROZEN, HASHES, OURS, THEIRS, THEIRS_HEX, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "freeze": (0, HASHES[0]),
    "unfreeze": (0, HASHES[0]),
    "reassign": (0, HASHES[0], HASHES[3], 1000, 10),
}


@pytest.mark.parametrize("function", ARGUMENTS)
@pytest.mark.parametrize(
    ("record", "code"),
    [
        (Ruled.missing(), "TX_NOT_FOUND"),
        (Ruled(utxos=None), "UTXOS_NOT_FOUND"),
        (Ruled(utxos=[None]), "UTXO_NOT_FOUND"),
        (Ruled(utxos=[]), "UTXO_NOT_FOUND"),
        (Ruled(utxos=[HASHES[1] + FROZEN]), "UTXO_HASH_MISMATCH"),
    ],
)
def test_the_target_is_checked_first(function: str, record: Ruled, code: str) -> None:
    before = record.bins
    assert refused(record.call(function, *ARGUMENTS[function]), code)
    assert record.bins == before


def test_freeze() -> None:
    record = Ruled()
    assert record.call("freeze", 0, HASHES[0]) == {"status": "OK"}
    assert record["utxos"] == [HASHES[0] + FROZEN, HASHES[1]]
    assert record["spentUtxos"] == 0
    assert refused(record.call("freeze", 0, HASHES[0]), "ALREADY_FROZEN")


def test_freeze_of_a_spent_output_names_the_spender() -> None:
    result = Ruled(utxos=[HASHES[0] + THEIRS]).call("freeze", 0, HASHES[0])
    assert refused(result, "SPENT")
    assert result["spendingData"] == THEIRS_HEX


def test_unfreeze() -> None:
    record = Ruled(utxos=[HASHES[0] + FROZEN])
    assert record.call("unfreeze", 0, HASHES[0]) == {"status": "OK"}
    assert record["utxos"] == [HASHES[0]]


@pytest.mark.parametrize("function", ["unfreeze", "reassign"])
@pytest.mark.parametrize(
    ("utxo", "code"), [(HASHES[0], "UTXO_INVALID_SIZE"), (HASHES[0] + OURS, "UTXO_NOT_FROZEN")], ids=["32", "spent"]
)
def test_only_a_frozen_output_is_unfrozen_or_reassigned(function: str, utxo: bytes, code: str) -> None:
    record = Ruled(utxos=[utxo])
    before = record.bins
    assert refused(record.call(function, *ARGUMENTS[function]), code)
    assert record.bins == before


def test_reassign_records_it_every_time() -> None:
    record = Ruled()
    for count, (old, new) in enumerate([(HASHES[0], HASHES[3]), (HASHES[3], HASHES[2])], start=1):
        record.call("freeze", 0, old)
        assert record.call("reassign", 0, old, new, 1000 + count, 10) == {"status": "OK"}
        assert record["utxos"] == [new, HASHES[1]]
        assert record["reassignments"][count - 1] == {
            "offset": 0,
            "utxoHash": old,
            "newUtxoHash": new,
            "blockHeight": 1000 + count,
        }
        assert record["recordUtxos"] == 2 + count
    assert record["utxoSpendableIn"] == {0: 1012}
    assert len(record["reassignments"]) == 2


@pytest.mark.parametrize("new", [None, HASHES[3][:31], "h" * 32])
def test_reassign_refuses_a_malformed_new_hash(new: Any) -> None:
    record = Ruled(utxos=[HASHES[0] + FROZEN])
    assert refused(record.call("reassign", 0, HASHES[0], new, 1000, 10), "INVALID_PARAMETER")


def test_a_reassigned_record_is_never_marked_for_deletion() -> None:
    record = Ruled.mined(utxos=[HASHES[3]], recordUtxos=1)
    record.call("freeze", 0, HASHES[3])
    record.call("reassign", 0, HASHES[3], HASHES[0], 900, 10)
    assert record.spend((0, OURS), current=1000)["status"] == "OK"
    assert (record["spentUtxos"], record["deleteAtHeight"]) == (1, None)


def test_note_conflicting_adds_a_child_once() -> None:
    record = Ruled()
    for child in (b"a" * 32, b"b" * 32, b"a" * 32):
        assert record.call("noteConflicting", child) == {"status": "OK"}
    assert record["conflictingCs"] == [b"a" * 32, b"b" * 32]
    assert refused(record.call("noteConflicting", b"a"), "INVALID_PARAMETER")
    assert refused(Ruled.missing().call("noteConflicting", b"a" * 32), "TX_NOT_FOUND")
