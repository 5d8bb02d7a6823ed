"""The delete-at-height rule, and the rules on blocks, flags and counters that go through it."""

from typing import Any

import pytest
from ruled import HASHES, OURS, RETENTION, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

SPENT = {"utxos": [HASHES[0] + OURS, HASHES[1] + OURS], "spentUtxos": 2}


def increment(record: Ruled, delta: Any, current: int = 1000, retention: int = RETENTION) -> dict[str, Any]:
    return record.call("incrementSpentExtraRecs", delta, current, retention)


def conflict(record: Ruled, value: bool, current: int = 1000) -> dict[str, Any]:
    return record.call("setConflicting", value, current, RETENTION)


def set_mined(record: Ruled, height: int = 950, block: int = 7, longest: bool = True, unset: bool = False) -> Any:
    return record.call("setMined", block, height, 3, 1000, RETENTION, longest, unset)


def test_a_child_signals_when_its_state_changes() -> None:
    child = Ruled.child(conflicting=True, preserveUntil=5000)
    ignore = (True, True)
    assert "signal" not in child.spend((0, OURS), ignore=ignore)
    assert "lastSpentState" not in (child.bins or {})
    assert child.spend((1, OURS), ignore=ignore)["signal"] == "ALLSPENT"
    assert "signal" not in child.spend((1, OURS), ignore=ignore)
    undone = child.call("unspend", 0, HASHES[0], OURS, 1000, RETENTION)
    assert (undone["signal"], child["lastSpentState"]) == ("NOTALLSPENT", "NOTALLSPENT")
    assert "signal" not in child.call("unspend", 1, HASHES[1], OURS, 1000, RETENTION)
    assert child["deleteAtHeight"] is None


def test_a_child_signals_where_retention_is_0() -> None:
    child = Ruled.child(utxos=[HASHES[0]], recordUtxos=1)
    item = {"idx": 0, "offset": 0, "utxoHash": HASHES[0], "spendingData": OURS}
    assert child.call("spendMulti", [item], False, False, 1000, 0)["signal"] == "ALLSPENT"


def test_a_child_without_a_utxo_has_nothing_to_signal() -> None:
    for state in ("ALLSPENT", None):
        child = Ruled.child(utxos=[None], recordUtxos=0, lastSpentState=state)
        assert "signal" not in conflict(child, True)


def test_a_master_that_is_spent_mined_and_on_the_longest_chain_gets_its_height() -> None:
    record = Ruled.mined()
    record.spend((0, OURS))
    assert record["deleteAtHeight"] is None
    assert "signal" not in record.spend((1, OURS))
    assert record["deleteAtHeight"] == 1288


@pytest.mark.parametrize(
    "lacking",
    [
        {"blockIDs": []},
        {"blockIDs": None},
        {"unminedSince": 990},
        {"totalExtraRecs": 2, "spentExtraRecs": 1},
        {"recordUtxos": 3},
        {"preserveUntil": 5000},
    ],
)
def test_a_master_that_lacks_one_of_it_gets_none(lacking: dict[str, Any]) -> None:
    record = Ruled.mined(utxos=[HASHES[0]], spentUtxos=1, **lacking)
    record.spend((0, OURS))
    assert record["deleteAtHeight"] is None


def test_the_height_is_raised_and_never_lowered() -> None:
    record = Ruled.mined(**SPENT, deleteAtHeight=1300)
    record.spend((0, OURS), current=1000)
    assert record["deleteAtHeight"] == 1300
    record.spend((0, OURS), current=1013)
    assert record["deleteAtHeight"] == 1301


def test_a_height_that_no_longer_holds_is_removed() -> None:
    record = Ruled.mined(deleteAtHeight=1300)
    record.spend((0, OURS))
    assert record["deleteAtHeight"] is None


def test_nothing_happens_to_a_master_where_retention_is_0() -> None:
    record = Ruled.mined(**SPENT, deleteAtHeight=5, totalExtraRecs=1)
    increment(record, 1, retention=0)
    assert record["deleteAtHeight"] == 5


def test_an_external_master_signals_with_its_number_of_children() -> None:
    record = Ruled.mined(**SPENT, external=True, totalExtraRecs=3, spentExtraRecs=2)
    assert increment(record, 1) == {"status": "OK", "signal": "DAHSET", "childCount": 3}
    assert increment(record, 0) == {"status": "OK", "childCount": 3}
    assert increment(record, 0, current=1001)["signal"] == "DAHSET"
    assert record["deleteAtHeight"] == 1289
    assert increment(record, -1) == {"status": "OK", "signal": "DAHUNSET", "childCount": 3}
    assert record["deleteAtHeight"] is None


def test_increment_counts_within_its_bounds() -> None:
    record = Ruled(totalExtraRecs=2)
    for delta, code, count in ((-1, "INVALID_PARAMETER", 0), (3, "INVALID_PARAMETER", 0), (2, None, 2), (-2, None, 0)):
        result = increment(record, delta)
        assert refused(result, code) if code else result["status"] == "OK"
        assert record["spentExtraRecs"] == count


def test_increment_refuses() -> None:
    assert refused(increment(Ruled.missing(), 1), "TX_NOT_FOUND")
    assert refused(increment(Ruled.child(), 1), "INVALID_PARAMETER")
    assert refused(increment(Ruled(totalExtraRecs=2), 0.5), "INVALID_PARAMETER")


def test_a_conflicting_master_gets_its_height_once() -> None:
    record = Ruled(external=True, totalExtraRecs=2)
    assert conflict(record, True) == {"status": "OK", "signal": "DAHSET", "childCount": 2}
    assert "signal" not in conflict(record, True, current=2000)
    assert (record["conflicting"], record["deleteAtHeight"]) == (True, 1288)


def test_un_conflicting_removes_a_height_that_no_longer_holds() -> None:
    record = Ruled(external=True, totalExtraRecs=2, conflicting=True, deleteAtHeight=1288)
    assert conflict(record, False) == {"status": "OK", "signal": "DAHUNSET", "childCount": 2}
    assert (record["conflicting"], record["deleteAtHeight"]) == (False, None)
    kept = Ruled.mined(**SPENT, conflicting=True, deleteAtHeight=1288)
    conflict(kept, False)
    assert kept["deleteAtHeight"] == 1288


def test_set_conflicting_of_what_is_missing() -> None:
    assert refused(conflict(Ruled.missing(), True), "TX_NOT_FOUND")


def test_set_mined_adds_a_block_once() -> None:
    record = Ruled(locked=True, creating=True)
    for _ in range(2):
        assert set_mined(record) == {"status": "OK", "blockIDs": [7], "childCount": 0}
    set_mined(record, block=8, height=951)
    assert (record["blockIDs"], record["blockHeights"], record["subtreeIdxs"]) == ([7, 8], [950, 951], [3, 3])
    assert (record["unminedSince"], record["locked"], record["creating"]) == (None, False, None)


def test_set_mined_off_the_longest_chain_leaves_it_unmined() -> None:
    record = Ruled()
    set_mined(record, longest=False)
    assert (record["blockIDs"], record["unminedSince"]) == ([7], 900)


def test_unset_mined_removes_the_block_and_without_blocks_it_is_unmined() -> None:
    record = Ruled.mined(**SPENT, deleteAtHeight=1288)
    set_mined(record, block=8, height=951)
    assert set_mined(record, block=9, unset=True)["blockIDs"] == [7, 8]
    assert set_mined(record, unset=True)["blockIDs"] == [8]
    assert (record["blockHeights"], record["subtreeIdxs"], record["unminedSince"]) == ([951], [3], None)
    assert record["deleteAtHeight"] == 1288
    assert set_mined(record, block=8, unset=True)["blockIDs"] == []
    assert (record["blockHeights"], record["unminedSince"], record["deleteAtHeight"]) == ([], 1000, None)


def test_unset_mined_of_what_was_never_mined() -> None:
    record = Ruled()
    assert set_mined(record, unset=True) == {"status": "OK", "blockIDs": [], "childCount": 0}
    assert record["unminedSince"] == 1000


def test_set_mined_counts_from_the_mined_blocks_height() -> None:
    record = Ruled(**SPENT)
    set_mined(record, height=950)
    assert record["deleteAtHeight"] == 950 + RETENTION


def test_set_mined_tells_the_number_of_children() -> None:
    record = Ruled(**SPENT, external=True, totalExtraRecs=1, spentExtraRecs=1)
    assert set_mined(record) == {"status": "OK", "blockIDs": [7], "childCount": 1, "signal": "DAHSET"}
    assert refused(set_mined(Ruled.missing()), "TX_NOT_FOUND")


def test_set_locked() -> None:
    record = Ruled(deleteAtHeight=1288, totalExtraRecs=4)
    assert record.call("setLocked", False) == {"status": "OK", "childCount": 4}
    assert (record["locked"], record["deleteAtHeight"]) == (False, 1288)
    assert record.call("setLocked", True) == {"status": "OK", "childCount": 4}
    assert (record["locked"], record["deleteAtHeight"]) == (True, None)
    assert Ruled.child().call("setLocked", True) == {"status": "OK", "childCount": 0}
    assert refused(Ruled.missing().call("setLocked", True), "TX_NOT_FOUND")


def test_preserve_until() -> None:
    record = Ruled(deleteAtHeight=1288)
    assert record.call("preserveUntil", 5000) == {"status": "OK"}
    assert (record["preserveUntil"], record["deleteAtHeight"]) == (5000, None)
    external = Ruled(external=True, totalExtraRecs=2)
    assert external.call("preserveUntil", 5000) == {"status": "OK", "signal": "PRESERVE", "childCount": 2}
    assert refused(Ruled.missing().call("preserveUntil", 5000), "TX_NOT_FOUND")
