"""Taking back: unspend, for who asks for exactly that; and release, for a refused attempt, which takes nothing from
other attempts of the same transaction. `joined` keeps, by offset, the output's life and how many attempts rely on its
spend beside the one that applied it."""

from typing import Any

import pytest

from tests.support.ruled import FROZEN, HASHES, OURS, OURS_HEX, OURS_PRUNED, RETENTION, THEIRS, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

DONE: dict[str, Any] = {"status": "OK", "applied": []}  # changed nothing
UNDONE: dict[str, Any] = {"status": "OK", "applied": [0]}
HELD: dict[str, Any] = {"status": "OK", "applied": [], "held": True}

GIVING_BACK = ["unspend", "release"]


def spent(**bins: Any) -> Ruled:
    return Ruled(**({"utxos": [HASHES[0] + OURS, HASHES[1]], "spentUtxos": 1} | bins))


def give_back(record: Ruled, function: str, data: bytes = OURS) -> dict[str, Any]:
    """In the output's present life."""
    return record.unspend(data=data) if function == "unspend" else record.release(record.joined.get(0, [0])[0], data)


def is_spent(record: Ruled) -> bool:
    assert record["spentUtxos"] == sum(len(utxo) == 68 for utxo in record["utxos"])
    return bool(record["utxos"][0] == HASHES[0] + OURS)


# What a spend notes.


def test_each_attempt_that_finds_its_spend_done_joins_it() -> None:
    record = Ruled()
    record.spend((0, OURS))
    assert record["joined"] is None
    for count in (1, 2, 3):
        assert record.spend((0, OURS)) == DONE
        assert record.joined == {0: [0, count]}


def test_a_spend_that_is_there_twice_in_one_call_is_two_attempts() -> None:
    record = Ruled()
    assert record.spend((0, OURS), (0, OURS), (1, OURS), (0, OURS))["applied"] == [10, 12]
    assert record.joined == {0: [0, 2]}
    for result in (HELD, HELD, UNDONE):
        assert record.release() == result


def test_a_refused_spend_joins_nothing() -> None:
    for bins in ({"locked": True}, {"utxoSpendableIn": {0: 1001}}, {"deletedChildren": OURS_PRUNED}):
        record = spent(joined={0: [2, 1]}, **bins)
        assert record.spend((0, OURS))["mine"] == [10]
        assert record.joined == {0: [2, 1]}
    other = spent()
    other.spend((0, THEIRS))
    assert other["joined"] is None


def test_lives_are_told_of_those_that_hold_and_are_above_0() -> None:
    record = spent(
        utxos=[HASHES[0] + OURS, HASHES[1], HASHES[2], HASHES[3] + THEIRS],
        recordUtxos=4,
        joined={0: [3, 0], 1: [5, 0], 3: [7, 0]},
    )
    result = record.spend((0, OURS), (1, OURS), (2, OURS), (3, OURS))
    assert result["lives"] == {10: 3, 11: 5}
    assert record.joined == {0: [3, 1], 1: [5, 0], 3: [7, 0]}
    assert record.call("spend", 1, HASHES[1], OURS, False, False, 1000, RETENTION)["lives"] == {0: 5}


def test_a_spend_that_is_applied_relies_on_nobody_before_it() -> None:
    """What another program took back without a word of its own is counted no longer."""
    record = Ruled(joined={0: [1, 4]})
    assert record.spend((0, OURS)) == {"status": "OK", "applied": [10], "lives": {10: 1}}
    assert record.joined == {0: [1, 0]}


def test_attempts_are_noted_by_output() -> None:
    record = Ruled()
    record.spend((0, OURS), (1, OURS))
    record.spend((1, OURS))
    assert record.joined == {1: [0, 1]}
    assert record.release(offset=0) == UNDONE
    assert record.joined == {0: [1, 0], 1: [0, 1]}
    assert record.release(offset=1) == HELD


# unspend.


def test_unspend_reverses_its_owners_spend_only() -> None:
    record = spent()
    before = record.bins
    result = record.unspend(data=THEIRS)
    assert refused(result, "SPENT")
    assert result["spendingData"] == OURS_HEX
    assert record.bins == before
    assert record.unspend() == UNDONE
    assert (record["utxos"], record["spentUtxos"]) == (HASHES[:2], 0)


def test_unspend_of_an_unspent_output_is_ok_and_changes_nothing() -> None:
    record = Ruled(joined={0: [2, 0]})
    before = record.bins
    assert record.unspend() == DONE
    assert record.bins == before


def test_unspend_takes_back_whoever_relied_on_it_and_begins_another_life() -> None:
    record = spent(joined={0: [1, 3], 1: [9, 9]})
    assert record.unspend() == UNDONE
    assert record.joined == {0: [2, 0], 1: [9, 9]}
    never_joined = spent()
    never_joined.unspend()
    assert never_joined.joined == {0: [1, 0]}


def test_another_input_of_the_same_transaction_is_another_spender() -> None:
    record = spent()
    before = record.bins
    other_input = OURS[:32] + b"\x07\0\0\0"
    assert refused(record.unspend(data=other_input), "SPENT")
    assert record.release(data=other_input) == DONE
    assert record.bins == before


def test_each_life_of_an_output_has_a_number_of_its_own() -> None:
    record = Ruled()
    for life in range(4):
        assert record.spend((0, OURS)).get("lives", {10: 0}) == {10: life}
        if life % 2:
            record.unspend()
        else:
            assert record.release(life) == UNDONE


# release.


def test_a_release_of_what_was_applied_and_nobody_joined_undoes_it() -> None:
    record = Ruled()
    record.spend((0, OURS))
    assert record.release() == UNDONE
    assert (record["utxos"], record["spentUtxos"], record.joined) == (HASHES[:2], 0, {0: [1, 0]})


def test_a_release_leaves_the_spend_to_those_who_rely_on_it() -> None:
    record = Ruled.mined(utxos=[HASHES[0]], recordUtxos=1)
    record.spend((0, OURS))
    record.spend((0, OURS))
    assert record.release() == HELD
    assert is_spent(record)
    assert (record.joined, record["deleteAtHeight"]) == ({0: [0, 0]}, 1000 + RETENTION)
    assert record.release() == UNDONE
    assert record["deleteAtHeight"] is None


def test_what_another_attempt_acknowledged_outlives_the_refusal_of_the_first() -> None:
    """P12, in either order of the release and the second attempt."""
    for joins_first in (True, False):
        record = Ruled()
        record.spend((0, OURS))
        if joins_first:
            record.spend((0, OURS))
        record.release()
        if not joins_first:
            record.spend((0, OURS))
        assert is_spent(record)


@pytest.mark.parametrize("life", [0, 2, 1.0, True, "1", None])
def test_a_release_of_another_life_changes_nothing(life: Any) -> None:
    for count in (0, 2):
        record = spent(joined={0: [1, count]})
        before = record.bins
        assert record.release(life) == DONE
        assert record.bins == before


def test_a_late_release_does_not_reach_the_spend_after_an_unspend() -> None:
    record = Ruled()
    record.spend((0, OURS))  # of the attempt that will be refused
    record.unspend()
    record.spend((0, OURS))  # acknowledged
    assert record.release(0) == DONE
    assert is_spent(record)


@pytest.mark.parametrize("utxo", [HASHES[0], HASHES[0] + THEIRS, HASHES[0] + FROZEN], ids=["none", "other", "frozen"])
def test_a_release_of_what_is_not_its_owners_changes_nothing(utxo: bytes) -> None:
    record = Ruled(utxos=[utxo, HASHES[1]], joined={0: [0, 2]}, deletedChildren=OURS_PRUNED)
    before = record.bins
    assert record.release() == DONE
    assert record.bins == before


# Either.


@pytest.mark.parametrize("function", GIVING_BACK)
@pytest.mark.parametrize(
    ("record", "code"),
    [
        (Ruled.missing(), "TX_NOT_FOUND"),
        (Ruled(utxos=None), "UTXOS_NOT_FOUND"),
        (Ruled(utxos=[None]), "UTXO_NOT_FOUND"),
        (Ruled(utxos=[HASHES[0] + b"x"]), "UTXO_INVALID_SIZE"),
        (Ruled(utxos=[HASHES[1] + OURS]), "UTXO_HASH_MISMATCH"),
        (spent(deletedChildren=OURS_PRUNED), "INVALID_SPEND"),
    ],
)
def test_giving_back_refuses(function: str, record: Ruled, code: str) -> None:
    before = record.bins
    life = [0] if function == "release" else []
    assert refused(record.call(function, 0, HASHES[0], OURS, 1000, RETENTION, *life), code)
    assert record.bins == before


def test_unspend_refuses_what_is_frozen() -> None:
    assert refused(Ruled(utxos=[HASHES[0] + FROZEN]).unspend(), "FROZEN")


@pytest.mark.parametrize("holder", [b"", OURS, THEIRS, FROZEN], ids=["unspent", "own", "another's", "frozen"])
def test_a_spender_that_was_pruned_takes_nothing_back(holder: bytes) -> None:
    """Whoever has the output."""
    record = Ruled(utxos=[HASHES[0] + holder, HASHES[1]], deletedChildren=OURS_PRUNED)
    before = record.bins
    result = record.unspend()
    assert refused(result, "INVALID_SPEND")
    assert result["spendingData"] == OURS_HEX
    assert record.bins == before


def test_that_another_spender_was_pruned_does_not_keep_one_from_taking_back() -> None:
    for function in GIVING_BACK:
        assert give_back(spent(deletedChildren={"0b" * 32: True}), function) == UNDONE


def test_a_release_that_takes_nothing_away_is_no_matter_of_pruned_spenders() -> None:
    record = spent(deletedChildren=OURS_PRUNED, joined={0: [0, 1]})
    assert record.release() == HELD
    assert refused(record.release(), "INVALID_SPEND")
    assert is_spent(record)


@pytest.mark.parametrize("function", GIVING_BACK)
def test_giving_back_takes_the_delete_at_height_away(function: str) -> None:
    record = Ruled.mined(utxos=[HASHES[0]], recordUtxos=1, external=True, totalExtraRecs=0)
    record.spend((0, OURS))
    assert record["deleteAtHeight"] == 1000 + RETENTION
    assert give_back(record, function) == UNDONE | {"signal": "DAHUNSET", "childCount": 0}
    assert record["deleteAtHeight"] is None


@pytest.mark.parametrize("function", GIVING_BACK)
def test_a_child_that_is_given_back_tells_its_state_whether_or_not_it_changed(function: str) -> None:
    child = Ruled.child(utxos=[HASHES[0]], recordUtxos=1)
    assert child.spend((0, OURS))["stateSeq"] == 1
    assert give_back(child, function) == UNDONE | {"signal": "NOTALLSPENT", "stateSeq": 2}
    assert give_back(child, function) == DONE | {"stateSeq": 2}


def test_a_release_that_is_held_tells_the_childs_state() -> None:
    child = Ruled.child(utxos=[HASHES[0]], recordUtxos=1)
    child.spend((0, OURS), (0, OURS))
    assert child.release() == HELD | {"stateSeq": 1}
    assert child.release(life=7) == DONE | {"stateSeq": 1}
