"""Freezing, reassigning, and noting conflicts."""

from typing import Any

import pytest

from tests.support.ruled import FROZEN, HASHES, OURS, THEIRS, THEIRS_HEX, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "freeze": (0, HASHES[0]),
    "unfreeze": (0, HASHES[0]),
    "reassign": (0, HASHES[0], HASHES[3], 7, b"\x51", 1000, 10),
}
MAX_REASSIGNED_BYTES = 128 * 1024  # of all reassignments of a record
REASSIGNMENT_BYTES = 256  # of one, without its scripts: one in the reassignment, one as the output's


def reassign(
    record: Ruled,
    new: Any = HASHES[3],
    *,
    offset: int = 0,
    old: bytes = HASHES[0],
    satoshis: Any = 7,
    script: Any = b"\x51",
    height: int = 1000,
    after: int = 10,
) -> dict[str, Any]:
    return record.call("reassign", offset, old, new, satoshis, script, height, after)


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
        script = b"\x51" * count
        assert reassign(record, new, old=old, satoshis=count, script=script, height=1000 + count) == {"status": "OK"}
        assert record["utxos"] == [new, HASHES[1]]
        assert record["reassignments"][count - 1] == {
            "offset": 0,
            "utxoHash": old,
            "newUtxoHash": new,
            "satoshis": count,
            "script": script,
            "blockHeight": 1000 + count,
        }
        assert record["reassigned"] == {0: [count, script]}
        assert record["recordUtxos"] == 2 + count
    assert record["utxoSpendableIn"] == {0: 1012}
    assert len(record["reassignments"]) == 2


def test_each_reassigned_output_has_what_outpoint_gives_of_it() -> None:
    record = Ruled(utxos=[HASHES[0] + FROZEN, HASHES[1] + FROZEN])
    assert reassign(record, satoshis=0, script=b"")["status"] == "OK"
    assert reassign(record, HASHES[2], offset=1, old=HASHES[1], satoshis=21 * 10**14, script=b"\x52")["status"] == "OK"
    assert record["reassigned"] == {0: [0, b""], 1: [21 * 10**14, b"\x52"]}
    assert record["utxos"] == [HASHES[3], HASHES[2]]
    assert record["utxoSpendableIn"] == {0: 1010, 1: 1010}


def test_a_reassigned_output_is_spendable_from_the_height_itself_on_and_by_its_new_hash_only() -> None:
    record = Ruled(utxos=[HASHES[0] + FROZEN])
    reassign(record, HASHES[3], height=1000, after=10)
    for current, utxo_hash, code in (
        (1009, HASHES[3], "FROZEN_UNTIL"),
        (1010, HASHES[0], "UTXO_HASH_MISMATCH"),
        (1010, HASHES[3], None),
    ):
        result = record.call("spend", 0, utxo_hash, OURS, False, False, current, 288)
        assert result.get("errorCode") == code


def test_a_reassignment_leaves_the_lives_of_outputs_as_they_are() -> None:
    """Or a release of before could reach a spend of after."""
    record = Ruled()
    record.spend((0, OURS))
    record.unspend()
    record.call("freeze", 0, HASHES[0])
    reassign(record, HASHES[0], height=900)
    assert record.spend((0, OURS)) == {"status": "OK", "applied": [10], "lives": {10: 1}}
    assert record.release(0)["applied"] == []
    assert record["utxos"][0] == HASHES[0] + OURS


@pytest.mark.parametrize(
    "malformed",
    [
        {"new": None},
        {"new": HASHES[3][:31]},
        {"new": HASHES[3] + b"\0"},
        {"new": "h" * 32},
        {"satoshis": -1},
        {"satoshis": 1.0},
        {"satoshis": None},
        {"script": None},
        {"script": "text"},
        {"script": [1]},
    ],
)
def test_a_malformed_reassignment_is_refused(malformed: dict[str, Any]) -> None:
    record = Ruled(utxos=[HASHES[0] + FROZEN])
    before = record.bins
    assert refused(reassign(record, **malformed), "INVALID_PARAMETER")
    assert record.bins == before


def test_a_script_that_would_make_the_record_too_big_is_refused() -> None:
    room = (MAX_REASSIGNED_BYTES - REASSIGNMENT_BYTES) // 2
    record = Ruled(utxos=[HASHES[0] + FROZEN])
    before = record.bins
    assert refused(reassign(record, script=bytes(room + 1)), "INVALID_PARAMETER")
    assert record.bins == before
    assert reassign(record, script=bytes(room))["status"] == "OK"
    record.call("freeze", 0, HASHES[3])
    assert refused(reassign(record, old=HASHES[3], script=b""), "INVALID_PARAMETER")


def test_all_reassignments_of_a_record_share_its_room() -> None:
    """Those of other programs, which keep no script, too."""
    count = MAX_REASSIGNED_BYTES // REASSIGNMENT_BYTES - 2
    foreign = [{"offset": 1}] * count  # and what does not matter here
    for scripts in ([bytes(REASSIGNMENT_BYTES // 2)], [b"", b""]):
        record = Ruled(utxos=[HASHES[0] + FROZEN], reassignments=foreign)
        assert refused(reassign(record, script=scripts[0] + bytes(REASSIGNMENT_BYTES // 2 + 1)), "INVALID_PARAMETER")
        for script in scripts:
            assert reassign(record, HASHES[0], script=script)["status"] == "OK"
            record.call("freeze", 0, HASHES[0])
        assert refused(reassign(record, script=b""), "INVALID_PARAMETER")


def test_a_reassigned_record_is_never_marked_for_deletion() -> None:
    record = Ruled.mined(utxos=[HASHES[3]], recordUtxos=1)
    record.call("freeze", 0, HASHES[3])
    reassign(record, HASHES[0], old=HASHES[3], height=900)
    assert record.spend((0, OURS), current=1000)["status"] == "OK"
    assert (record["spentUtxos"], record["deleteAtHeight"]) == (1, None)


def test_note_conflicting_adds_a_child_once() -> None:
    record = Ruled()
    for child in (b"a" * 32, b"b" * 32, b"a" * 32):
        assert record.call("noteConflicting", child) == {"status": "OK"}
    assert record["conflictingCs"] == [b"a" * 32, b"b" * 32]
    assert refused(record.call("noteConflicting", b"a"), "INVALID_PARAMETER")
    assert refused(Ruled.missing().call("noteConflicting", b"a" * 32), "TX_NOT_FOUND")


def test_the_conflicting_children_of_a_parent_are_bounded_and_the_rest_counted() -> None:
    """However many there are: the parent stays spendable."""
    children = [index.to_bytes(32, "little") for index in range(1000)]
    record = Ruled(conflictingCs=children[:999])
    for child in (children[999], children[0], children[999]):
        assert record.call("noteConflicting", child) == {"status": "OK"}
        assert (record["conflictingCs"], record["conflictingMore"]) == (children, None)
    for more in (1, 2):
        assert record.call("noteConflicting", b"m" * 32) == {"status": "OK"}
        assert (record["conflictingCs"], record["conflictingMore"]) == (children, more)
    record.call("noteConflicting", children[500])
    assert record["conflictingMore"] == 2


@pytest.mark.parametrize("child", [None, b"", b"a" * 31, b"a" * 33, "a" * 32, 7])
def test_what_is_no_txid_is_not_noted(child: Any) -> None:
    record = Ruled()
    before = record.bins
    assert refused(record.call("noteConflicting", child), "INVALID_PARAMETER")
    assert record.bins == before
