"""Locks: what they suspend, and that those of children end as their master's did (lockSeq)."""

import itertools
from typing import Any

import pytest

from tests.support.ruled import HASHES, OURS, RETENTION, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

SPENT = {"utxos": [HASHES[0] + OURS, HASHES[1] + OURS], "spentUtxos": 2}


def set_mined(record: Ruled) -> dict[str, Any]:
    return record.call("setMined", 7, 950, 3, 1000, RETENTION, True, False)


def test_what_is_missing() -> None:
    for value in (True, False):
        assert refused(Ruled.missing().lock(value), "TX_NOT_FOUND")


def test_a_lock_tells_the_number_of_children() -> None:
    record = Ruled(totalExtraRecs=4)
    assert record.lock(True) == {"status": "OK", "childCount": 4, "lockSeq": 1}
    assert record["locked"] is True
    assert record.lock(False) == {"status": "OK", "childCount": 4, "lockSeq": 2}
    assert record["locked"] is False


def test_locking_takes_the_delete_at_height_away() -> None:
    record = Ruled.mined(**SPENT, deleteAtHeight=1288)
    assert "signal" not in record.lock(True)
    assert record["deleteAtHeight"] is None
    external = Ruled.mined(**SPENT, external=True, totalExtraRecs=1, spentExtraRecs=1, deleteAtHeight=1288)
    assert external.lock(True) == {"status": "OK", "childCount": 1, "lockSeq": 1, "signal": "DAHUNSET"}
    assert "signal" not in external.lock(True)


def test_unlocking_what_is_finished_brings_the_delete_at_height_back() -> None:
    record = Ruled.mined(**SPENT, external=True, totalExtraRecs=1, spentExtraRecs=1, deleteAtHeight=1288)
    record.lock(True)
    assert record.lock(False)["signal"] == "DAHSET"
    assert record["deleteAtHeight"] == 1000 + RETENTION


def test_unlocking_what_is_conflicting_brings_the_delete_at_height_back() -> None:
    record = Ruled(conflicting=True, deleteAtHeight=1288)
    record.lock(True)
    record.lock(False)
    assert record["deleteAtHeight"] == 1000 + RETENTION


def test_unlocking_what_is_not_finished_gives_it_none() -> None:
    record = Ruled.mined(utxos=[HASHES[0], HASHES[1] + OURS], spentUtxos=1, locked=True)
    record.lock(False)
    assert record["deleteAtHeight"] is None
    preserved = Ruled.mined(**SPENT, locked=True, preserveUntil=5000)
    preserved.lock(False)
    assert preserved["deleteAtHeight"] is None


@pytest.mark.parametrize(
    ("current", "counts_from"), [(0, 960), (959, 960), (961, 961)], ids=["not known", "lower", "higher"]
)
def test_unlocking_counts_from_its_highest_block_at_least(current: int, counts_from: int) -> None:
    for heights in ([960], [950, 960], [960, 950]):
        blocks = {"blockIDs": list(range(len(heights))), "blockHeights": heights}
        record = Ruled.mined(**SPENT, locked=True, **blocks)
        record.lock(False, current=current)
        assert record["deleteAtHeight"] == counts_from + RETENTION


def test_unlocking_counts_from_since_when_it_is_unmined_at_least() -> None:
    for current, counts_from in ((0, 900), (901, 901)):
        record = Ruled(conflicting=True, locked=True)
        record.lock(False, current=current)
        assert record["deleteAtHeight"] == counts_from + RETENTION


def test_each_lock_and_unlock_of_a_master_raises_its_number() -> None:
    record = Ruled(lockSeq=7)
    for seq, value in enumerate([True, True, False, False, True], start=8):
        assert record.lock(value)["lockSeq"] == seq
        assert (record["lockSeq"], record["locked"]) == (seq, value)


def test_a_masters_number_is_its_own() -> None:
    record = Ruled(lockSeq=7)
    assert record.lock(True, 3)["lockSeq"] == 8
    assert record["locked"] is True


@pytest.mark.parametrize(
    ("bins", "seq"),
    [
        ({"locked": True}, 5),
        ({"locked": True, "totalExtraRecs": 2}, 5),
        ({"locked": False, "totalExtraRecs": 2}, 5),  # a child's unlocking may have been lost
        ({"locked": False}, 4),
    ],
    ids=["locked", "locked with children", "not locked, with children", "nothing to unlock"],
)
def test_being_mined_is_an_unlock_wherever_there_is_something_to_unlock(bins: dict[str, Any], seq: int) -> None:
    record = Ruled(lockSeq=4, **bins)
    assert set_mined(record)["lockSeq"] == seq
    assert record["lockSeq"] == seq


@pytest.mark.parametrize(("seq", "is_taken"), [(3, False), (4, False), (5, True), (9, True)])
def test_a_child_takes_only_a_newer_lock(seq: int, is_taken: bool) -> None:
    for before, value in itertools.product((True, False), repeat=2):
        child = Ruled.child(lockSeq=4, locked=before)
        assert child.lock(value, seq)["status"] == "OK"
        assert child["locked"] == (value if is_taken else before)
        assert child["lockSeq"] == (seq if is_taken else 4)


def test_a_child_that_was_never_told_takes_the_first_lock() -> None:
    child = Ruled.child()
    assert child.lock(True, 1)["status"] == "OK"
    assert (child["locked"], child["lockSeq"]) == (True, 1)


def test_a_child_without_a_masters_number_does_as_it_is_told() -> None:
    """As other programs call it."""
    child = Ruled.child(lockSeq=4)
    child.lock(True)
    assert (child["locked"], child["lockSeq"]) == (True, 4)
    child.lock(False)
    assert child["locked"] is False


def test_a_child_tells_its_state_and_gets_no_delete_at_height() -> None:
    child = Ruled.child(**SPENT, stateSeq=3, lastSpentState="ALLSPENT", deleteAtHeight=1288)
    for value, seq in ((True, 1), (False, 2), (True, 1)):
        result = child.lock(value, seq)
        assert (result["stateSeq"], result.get("signal")) == (3, None)
    assert child["deleteAtHeight"] is None


def test_locks_of_children_end_as_their_masters_did_in_every_order() -> None:
    """Two daemons lock, unlock and mine at once; what they tell the child is lost, doubled, and overtaken: all but the
    last, which is asked for again."""
    steps: list[Any] = [True, False, "mined"]
    for history in itertools.product(steps, repeat=3):
        master = Ruled(totalExtraRecs=1)
        told = []
        for step in history:
            result = set_mined(master) if step == "mined" else master.lock(step)
            told.append((step is True, result["lockSeq"]))
        for order in itertools.permutations([*told, told[-1]]):
            for lost in ([], told[:1], told[1:2], told[:2]):
                child = Ruled.child()
                for value, seq in (each for each in order if each not in lost):
                    child.lock(value, seq)
                assert (child["locked"], child["lockSeq"]) == (master["locked"], master["lockSeq"])


def test_a_lock_never_brings_a_delete_at_height_forward() -> None:
    """Spent at 6,000, in a block of 100: what was spent then may be taken back by a reorganisation for as long."""
    for locked_after in (True, False):
        record = Ruled.mined(utxos=[HASHES[0]], recordUtxos=1, blockHeights=[100])
        if not locked_after:
            record.lock(True)
        record.spend((0, OURS), current=6000, ignore=(False, True))
        if locked_after:
            assert record["deleteAtHeight"] == 6000 + RETENTION
            record.lock(True)
        assert record["deleteAtHeight"] is None
        record.lock(False)
        assert (record["deleteAtHeight"], record["lockHeight"]) == (6000 + RETENTION, None)


def test_a_lock_keeps_from_when_a_conflicting_transaction_counts() -> None:
    record = Ruled(unminedSince=100)
    record.call("setConflicting", True, 6000, RETENTION)
    record.lock(True)
    record.lock(False)
    assert record["deleteAtHeight"] == 6000 + RETENTION


def test_being_mined_counts_from_no_less_than_a_lock_has_kept() -> None:
    record = Ruled(utxos=[HASHES[0]], recordUtxos=1, locked=True)
    record.spend((0, OURS), current=6000, ignore=(False, True))
    record.call("setMined", 7, 100, 0, 6001, RETENTION, True, False)
    assert (record["deleteAtHeight"], record["lockHeight"]) == (6000 + RETENTION, None)
