"""A child: its stateSeq, and what it signals."""

from typing import Any

import pytest

from tests.support.ruled import HASHES, OURS, OURS_PRUNED, RETENTION, THEIRS, Ruled, refused
from tests.support.ruled_family import SPENT, single

pytestmark = pytest.mark.usefixtures("run_rules")


def test_a_child_signals_when_its_state_changes() -> None:
    child = Ruled.child(conflicting=True, preserveUntil=5000)
    ignore = (True, True)
    assert "signal" not in child.spend((0, OURS), ignore=ignore)
    assert "lastSpentState" not in (child.bins or {})
    assert child.spend((1, OURS), ignore=ignore)["signal"] == "ALLSPENT"
    assert "signal" not in child.spend((1, OURS), ignore=ignore)
    undone = child.unspend(0)
    assert (undone["signal"], child["lastSpentState"]) == ("NOTALLSPENT", "NOTALLSPENT")
    assert "signal" not in child.unspend(1)
    assert child["deleteAtHeight"] is None


def test_a_child_signals_where_retention_is_0() -> None:
    child = single()
    item = {"idx": 0, "offset": 0, "utxoHash": HASHES[0], "spendingData": OURS}
    result = child.call("spendMulti", [item], False, False, 1000, 0)
    assert (result["signal"], result["stateSeq"]) == ("ALLSPENT", 1)


def test_a_child_without_a_utxo_has_nothing_to_signal() -> None:
    for state, seq in (("ALLSPENT", 1), (None, None)):
        child = Ruled.child(utxos=[None], recordUtxos=0, lastSpentState=state, stateSeq=seq)
        result = child.call("setConflicting", True, 1000, RETENTION)
        assert result == {"status": "OK", "stateSeq": 1}
        assert child["stateSeq"] == 1


def test_a_childs_number_is_odd_where_all_is_spent_and_one_more_with_each_change() -> None:
    child = Ruled.child()
    assert child.spend((0, OURS))["stateSeq"] == 0
    assert child["stateSeq"] is None
    for seq in (1, 3, 5):
        assert child.spend((1, OURS))["stateSeq"] == seq
        assert child.spend((1, OURS))["stateSeq"] == seq
        assert child["stateSeq"] == seq
        assert child.unspend(1)["stateSeq"] == seq + 1
        assert child.unspend(1)["stateSeq"] == seq + 1
        assert child["stateSeq"] == seq + 1


def test_a_spend_and_the_taking_back_of_another_in_one_call_are_no_change() -> None:
    child = Ruled.child(**SPENT, stateSeq=3, lastSpentState="ALLSPENT")
    assert child.spend((0, THEIRS), (1, OURS))["stateSeq"] == 3
    assert child["stateSeq"] == 3


RULES_OF_CHILDREN: dict[str, tuple[Any, ...]] = {
    "spendMulti": ([], False, False, 1000, RETENTION),
    "unspend": (1, HASHES[1], THEIRS, 1000, RETENTION),
    "release": (1, HASHES[1], THEIRS, 1000, RETENTION, 0),
    "setConflicting": (False, 1000, RETENTION),
    "setLocked": (False, 1000, RETENTION, 1),
    "tellState": (1000, RETENTION),
}


@pytest.mark.parametrize("function", RULES_OF_CHILDREN)
@pytest.mark.parametrize(
    ("seq", "is_all_spent", "after"),
    [(None, True, 1), (None, False, 0), (1, True, 1), (1, False, 2), (2, True, 3), (2, False, 2)],
)
def test_a_childs_number_is_compared_with_its_state_not_counted(
    function: str, seq: int | None, is_all_spent: bool, after: int
) -> None:
    """Another program spends and takes back without raising it; whatever rule comes next puts it right."""
    utxos = {"utxos": [HASHES[0] + OURS, HASHES[1]], "recordUtxos": 1 if is_all_spent else 2, "spentUtxos": 1}
    child = Ruled.child(**utxos, stateSeq=seq)
    for _ in range(2):
        result = child.call(function, *RULES_OF_CHILDREN[function])
        assert (result["status"], result["stateSeq"]) == ("OK", after)
        assert (child["stateSeq"] or 0) == after


def test_what_another_program_spent_and_we_take_back_is_told_as_unspent() -> None:
    child = single(utxos=[HASHES[0] + OURS], spentUtxos=1, lastSpentState="ALLSPENT")
    result = child.unspend()
    assert (result["stateSeq"], result["signal"]) == (0, "NOTALLSPENT")


def test_a_child_that_is_asked_tells_and_changes_nothing() -> None:
    child = Ruled.child(**SPENT, stateSeq=3, lastSpentState="ALLSPENT", locked=True, creating=True)
    before = child.bins
    assert child.tell() == {"status": "OK", "stateSeq": 3}
    assert child.bins == before


def test_only_a_child_can_be_asked() -> None:
    assert refused(Ruled.missing().tell(), "TX_NOT_FOUND")
    assert refused(Ruled().tell(), "INVALID_PARAMETER")


def test_a_pruned_spenders_refusal_leaves_the_childs_state_alone() -> None:
    child = single(deletedChildren=OURS_PRUNED)
    before = child.bins
    child.spend((0, OURS))
    child.unspend()
    assert child.bins == before
