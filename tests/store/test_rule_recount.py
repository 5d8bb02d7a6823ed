"""Recounts: what a master does that has not heard of all its children, or whose counter another program wrote."""

import itertools

import pytest

from tests.support.ruled import HASHES, OURS, Ruled
from tests.support.ruled_family import heard, master, partly, single, states

pytestmark = pytest.mark.usefixtures("run_rules")


def test_without_child_states_a_note_asks_for_a_recount_until_one_has_come_through() -> None:
    record = master(1, 0, childStates=None, spentExtraRecs=1)
    for note, kept in (((2, 1), partly(0, 1)), ((2, 1), partly(0, 1)), ((1, 1), partly(1, 1))):
        assert record.note(note) == {"status": "OK", "signal": "RECOUNT", "childCount": 2}
        assert (record["childStates"], record["spentExtraRecs"]) == (kept, 1)
    assert record.note((1, 1), (2, 1)) == {"status": "OK", "signal": "DAHSET", "childCount": 2}
    assert (heard(record), record["spentExtraRecs"]) == ([1, 1], 2)


def test_a_note_without_news_tells_the_children_again_of_the_delete_at_height() -> None:
    """The word before may have been lost on its way to them."""
    record = master(1, 0)
    assert record.note((2, 1))["signal"] == "DAHSET"
    assert record.note((2, 1))["signal"] == "DAHSET"
    assert record.note((2, 2))["signal"] == "DAHUNSET"
    assert record.note((2, 1))["signal"] == record.note((2, 2))["signal"] == "DAHUNSET"
    assert record["deleteAtHeight"] is None


def test_a_recount_that_was_overtaken_by_a_note_does_not_go_before_it() -> None:
    """It had asked the children; one of them is unspent again, whose own recount is lost."""
    record = master(0, 0, childStates=None, spentExtraRecs=2)
    asked = [(1, 1), (2, 1)]
    assert record.note((1, 2))["signal"] == "RECOUNT"
    assert record.note(*asked)["signal"] == "DAHUNSET"
    assert (heard(record), record["spentExtraRecs"], record["deleteAtHeight"]) == ([2, 1], 1, None)


def test_a_recount_where_nothing_was_known_takes_every_number() -> None:
    for seqs in ((40_000, 65_535), (65_536, 0), (2, 100_001)):
        record = master(0, 0, childStates=None, spentExtraRecs=2)
        record.note((2, seqs[1]), (1, seqs[0]))
        assert heard(record) == [seq % 65536 for seq in seqs]
        assert record["spentExtraRecs"] == sum(seq % 2 for seq in seqs)


def test_child_states_of_another_length_are_none() -> None:
    for other in (b"", states(1), states(1, 0, 0)):
        record = master(1, 0, childStates=other)
        assert record.note((2, 1))["signal"] == "RECOUNT"
        assert record["childStates"] == partly(0, 1)
        record = master(1, 0, childStates=other)
        record.note((1, 1), (2, 2))
        assert (heard(record), record["spentExtraRecs"]) == ([1, 2], 1)


@pytest.mark.parametrize("counter", [0, 2, None])
def test_a_counter_that_another_program_wrote_asks_for_a_recount(counter: int | None) -> None:
    record = master(1, 0, 0, spentExtraRecs=counter)
    for _ in range(2):
        assert record.note((2, 1)) == {"status": "OK", "signal": "RECOUNT", "childCount": 3}
        assert (record["childStates"], record["spentExtraRecs"] or 0) == (partly(1, 1, 0), counter or 0)
    assert record.note((1, 1), (2, 1), (3, 0)) == {"status": "OK", "signal": "DAHUNSET", "childCount": 3}
    assert (heard(record), record["spentExtraRecs"]) == ([1, 1, 0], 2)


def test_a_recount_where_only_the_counter_was_wrong_takes_what_is_newer_and_counts() -> None:
    record = master(1, 4, 3, spentExtraRecs=0)
    record.note((1, 2), (2, 3), (3, 3))
    assert (heard(record), record["spentExtraRecs"]) == ([2, 4, 3], 1)
    record = master(1, 4, 3, spentExtraRecs=0)
    record.note((1, 1), (2, 3), (3, 2))
    assert (heard(record), record["spentExtraRecs"]) == ([1, 4, 3], 2)


def test_of_a_counter_that_cannot_be_trusted_only_what_is_told_to_be_unspent_is_believed() -> None:
    """Or a delete-at-height could stand on a transaction with a live coin."""
    for known in (states(1, 1, 0), None):
        record = master(1, 1, 0, childStates=known, spentExtraRecs=3, deleteAtHeight=1300)
        assert record.note((1, 1))["signal"] == "RECOUNT"
        assert (record["spentExtraRecs"], record["deleteAtHeight"]) == (3, 1300)
        assert record.note((1, 2)) == {"status": "OK", "signal": "RECOUNT", "childCount": 3}
        assert (record["spentExtraRecs"], record["deleteAtHeight"]) == (2, None)
        assert record.note((1, 2), (3, 0))["signal"] == "RECOUNT"
        assert record["spentExtraRecs"] == 1
        record.note((2, 2))
        assert record["spentExtraRecs"] == 1
        assert record["childStates"] == partly(2, 2, 0)


def test_a_recount_tells_the_children_of_the_delete_at_height_whether_or_not_it_changes_it() -> None:
    """What asked for it may have taken it away, and had no word for that; or its word may have been lost."""
    record = master(1, 1, 0, childStates=None, spentExtraRecs=3, deleteAtHeight=1300)
    assert record.note((1, 2))["signal"] == "RECOUNT"
    assert record["deleteAtHeight"] is None
    assert record.note((1, 2), (2, 1), (3, 0))["signal"] == "DAHUNSET"
    kept = master(1, 1, childStates=None, deleteAtHeight=1288)
    assert kept.note((1, 1), (2, 1)) == {"status": "OK", "signal": "DAHSET", "childCount": 2}
    assert kept["deleteAtHeight"] == 1288
    of_one_record = Ruled(childStates=b"", spentExtraRecs=0)
    assert "signal" not in of_one_record.note()


def test_no_number_of_notes_makes_a_transaction_finished_before_its_recount() -> None:
    record = master(0, 0, childStates=None, spentExtraRecs=0)
    for note in ((1, 1), (2, 1), (1, 1), (2, 1), (1, 3)):
        record.note(note)
        assert (record["spentExtraRecs"], record["deleteAtHeight"]) == (0, None)


def test_a_recount_may_be_late_doubled_and_overtaken() -> None:
    """Two children; the second changes while it is asked for. The last recount, or note, is asked for again."""
    early, late, note = [(1, 1), (2, 1)], [(1, 1), (2, 2)], [(2, 2)]
    for steps in itertools.permutations([early, late, note, early]):
        for again in (late, note):
            record = master(0, 0, childStates=None)
            for notes in steps:
                record.note(*notes)
            record.note(*again)
            assert (heard(record), record["spentExtraRecs"], record["deleteAtHeight"]) == ([1, 2], 1, None)


def test_children_of_a_set_that_knew_no_child_states_are_recounted_once() -> None:
    """Two children of a layout of before, or of another program, one of them spent."""
    children = [single(utxos=[HASHES[0] + OURS], spentUtxos=1, lastSpentState="ALLSPENT"), single()]
    record = master(0, 0, childStates=None, spentExtraRecs=1)
    told = children[1].spend((0, OURS))
    assert record.note((2, told["stateSeq"]))["signal"] == "RECOUNT"
    answers = [(index, child.tell()["stateSeq"]) for index, child in enumerate(children, start=1)]
    assert record.note(*answers)["signal"] == "DAHSET"
    assert record["spentExtraRecs"] == 2


def test_a_child_that_was_changed_by_another_program_is_told_right_when_it_is_asked_again() -> None:
    child, record = single(), master(0)
    record.note((1, child.spend((0, OURS))["stateSeq"]))
    assert record["deleteAtHeight"] is not None
    child.bins = (child.bins or {}) | {"utxos": [HASHES[0]], "spentUtxos": 0}  # taken back, stateSeq as it was
    record.note((1, child.unspend()["stateSeq"]))
    assert (heard(record), record["spentExtraRecs"], record["deleteAtHeight"]) == ([2], 0, None)
