"""The delete-at-height rule of masters, and the flags that go through it."""

from typing import Any

import pytest

from tests.support.ruled import HASHES, OURS, RETENTION, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

SPENT = {"utxos": [HASHES[0] + OURS, HASHES[1] + OURS], "spentUtxos": 2}


def conflict(record: Ruled, value: bool, current: int = 1000) -> dict[str, Any]:
    return record.call("setConflicting", value, current, RETENTION)


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
    record.increment(1, retention=0)
    assert record["deleteAtHeight"] == 5


def test_an_external_master_signals_with_its_number_of_children() -> None:
    record = Ruled.mined(**SPENT, external=True, totalExtraRecs=3, spentExtraRecs=2)
    assert record.increment(1) == {"status": "OK", "signal": "DAHSET", "childCount": 3}
    assert record.increment(0) == {"status": "OK", "childCount": 3}
    assert record.increment(0, current=1001)["signal"] == "DAHSET"
    assert record["deleteAtHeight"] == 1289
    assert record.increment(-1) == {"status": "OK", "signal": "DAHUNSET", "childCount": 3}
    assert record["deleteAtHeight"] is None


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


@pytest.mark.parametrize("hold", [{"locked": True}, {"preserveUntil": 5000}], ids=["locked", "preserved"])
@pytest.mark.parametrize("bins", [{}, {"conflicting": True}], ids=["finished", "conflicting"])
@pytest.mark.parametrize("before", [None, 900], ids=["without", "with"])
def test_the_rule_is_suspended_while_it_is_locked_or_preserved(
    hold: dict[str, Any], bins: dict[str, Any], before: int | None
) -> None:
    """Whatever is done meanwhile, and whether it has a delete-at-height or not."""
    record = Ruled.mined(**SPENT, external=True, deleteAtHeight=before, **bins, **hold)
    record.spend((0, OURS), ignore=(True, True))
    record.unspend(1)
    record.spend((1, OURS), ignore=(True, True))
    conflict(record, bool(bins))
    assert "signal" not in record.increment(0)
    assert record["deleteAtHeight"] == before


def test_the_rule_is_not_suspended_by_a_lock_that_is_off() -> None:
    record = Ruled.mined(**SPENT, locked=False)
    record.increment(0)
    assert record["deleteAtHeight"] == 1288


def test_conflicting_comes_before_finished() -> None:
    record = Ruled.mined(**SPENT, conflicting=True, deleteAtHeight=1000)
    record.increment(0, current=2000)
    assert record["deleteAtHeight"] == 1000


def test_preserve_until_takes_the_height_away_and_says_so_where_there_are_children() -> None:
    record = Ruled(deleteAtHeight=1288)
    assert record.call("preserveUntil", 5000) == {"status": "OK", "childCount": 0}
    assert (record["preserveUntil"], record["deleteAtHeight"]) == (5000, None)
    external = Ruled(external=True, totalExtraRecs=2, deleteAtHeight=1288)
    assert external.call("preserveUntil", 5000) == {"status": "OK", "signal": "DAHUNSET", "childCount": 2}
    assert external.call("preserveUntil", 5001) == {"status": "OK", "childCount": 2}
    assert external["preserveUntil"] == 5001
    assert refused(Ruled.missing().call("preserveUntil", 5000), "TX_NOT_FOUND")


def expire(record: Ruled, current: Any = 1000, retention: int = RETENTION) -> dict[str, Any]:
    return record.call("expirePreservation", current, retention)


def test_a_preservation_whose_height_has_come_ends_and_what_is_done_gets_its_delete_at_height() -> None:
    record = Ruled.mined(**SPENT, external=True, totalExtraRecs=1, spentExtraRecs=1, preserveUntil=1000)
    assert expire(record) == {"status": "OK", "signal": "DAHSET", "childCount": 1}
    assert (record["preserveUntil"], record["deleteAtHeight"]) == (None, 1288)
    assert expire(record, current=2000) == {"status": "OK"}
    assert record["deleteAtHeight"] == 1288


@pytest.mark.parametrize("bins", [{"spentUtxos": 1}, {"unminedSince": 990}, {"blockIDs": []}], ids=str)
def test_a_preservation_that_ends_gives_none_to_what_is_not_done(bins: dict[str, Any]) -> None:
    record = Ruled.mined(**(SPENT | bins), preserveUntil=1000)
    assert expire(record) == {"status": "OK"}
    assert (record["preserveUntil"], record["deleteAtHeight"]) == (None, None)


def test_a_preservation_of_what_is_locked_ends_and_its_delete_at_height_comes_with_the_unlocking() -> None:
    record = Ruled.mined(**SPENT, preserveUntil=1000, locked=True)
    expire(record)
    assert (record["preserveUntil"], record["deleteAtHeight"]) == (None, None)
    record.lock(False, current=0)
    assert record["deleteAtHeight"] == 1288


@pytest.mark.parametrize("until", [None, 1001], ids=["none", "a later one"])
def test_what_is_not_preserved_or_for_longer_stays_as_it_is(until: int | None) -> None:
    record = Ruled.mined(**SPENT, preserveUntil=until)
    before = record.bins
    assert expire(record) == {"status": "OK"}
    assert record.bins == before


def test_a_child_whose_preservation_ends_tells_its_state() -> None:
    child = Ruled.child(**SPENT, preserveUntil=1000)
    assert expire(child) == {"status": "OK", "signal": "ALLSPENT", "stateSeq": 1}
    assert child["preserveUntil"] is None
