"""Children and their master: stateSeq and the signal of a child, notes of it at the master, recounts, and the counter
of other programs."""

import itertools
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from tests.support.ruled import HASHES, OURS, OURS_PRUNED, RETENTION, THEIRS, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

SPENT = {"utxos": [HASHES[0] + OURS, HASHES[1] + OURS], "spentUtxos": 2}
Note = tuple[int, int]


def states(*seqs: int) -> bytes:
    return b"".join(struct.pack("<H", seq % 65536) for seq in seqs)


def master(*seqs: int, **bins: Any) -> Ruled:
    """A master that is finished but for its children; seqs: what it has heard of each."""
    known = {"totalExtraRecs": len(seqs), "childStates": states(*seqs), "spentExtraRecs": sum(seq % 2 for seq in seqs)}
    return Ruled.mined(**(SPENT | {"external": True} | known | bins))


def heard(record: Ruled) -> list[int]:
    """What a master has heard of each child."""
    return [seq for (seq,) in struct.iter_unpack("<H", record["childStates"])]


def partly(*seqs: int) -> bytes:
    """What a master keeps that has not heard of all its children."""
    return states(*seqs) + b"\0"


def single(**bins: Any) -> Ruled:
    """A child of one output."""
    return Ruled.child(**({"utxos": [HASHES[0]], "recordUtxos": 1} | bins))


def tell(child: Ruled) -> dict[str, Any]:
    return child.call("tellState", 1000, RETENTION)


def increment(record: Ruled, delta: Any, current: int = 1000) -> dict[str, Any]:
    return record.call("incrementSpentExtraRecs", delta, current, RETENTION)


# A child.


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
    assert tell(child) == {"status": "OK", "stateSeq": 3}
    assert child.bins == before


def test_only_a_child_can_be_asked() -> None:
    assert refused(tell(Ruled.missing()), "TX_NOT_FOUND")
    assert refused(tell(Ruled()), "INVALID_PARAMETER")


# Notes at the master.


def test_a_note_that_is_newer_is_taken_and_any_other_is_not() -> None:
    record = master(1, 4, 0)
    assert record.note((2, 5)) == {"status": "OK", "childCount": 3}
    assert (heard(record), record["spentExtraRecs"]) == ([1, 5, 0], 2)
    before = record.bins
    for note in ((2, 5), (2, 4), (2, 0), (1, 0), (3, 0)):
        assert record.note(note) == {"status": "OK", "signal": "DAHUNSET", "childCount": 3}
        assert record.bins == before


def test_notes_of_several_children_come_in_one_call() -> None:
    record = master(0, 0, 0, 0)
    record.note((4, 3), (1, 1), (2, 2))
    assert (heard(record), record["spentExtraRecs"]) == ([1, 2, 0, 3], 2)


def test_of_two_notes_of_a_child_in_one_call_the_newer_counts() -> None:
    for notes in itertools.permutations([(1, 1), (1, 3), (1, 2)]):
        record = master(0, 0)
        record.note(*notes)
        assert (heard(record), record["spentExtraRecs"]) == ([3, 0], 1)


def test_no_notes_change_nothing() -> None:
    record = master(1, 0)
    before = record.bins
    assert record.note() == {"status": "OK", "signal": "DAHUNSET", "childCount": 2}
    assert record.bins == before
    assert Ruled().note() == {"status": "OK", "childCount": 0}


def test_the_note_that_completes_it_sets_the_delete_at_height_and_the_next_takes_it_away() -> None:
    record = master(1, 0)
    assert record.note((2, 1)) == {"status": "OK", "signal": "DAHSET", "childCount": 2}
    assert record["deleteAtHeight"] == 1000 + RETENTION
    assert record.note((2, 1), current=1005)["signal"] == "DAHSET"
    assert record["deleteAtHeight"] == 1000 + RETENTION
    assert record.note((1, 2)) == {"status": "OK", "signal": "DAHUNSET", "childCount": 2}
    assert record["deleteAtHeight"] is None


def test_a_note_keeps_to_the_rule_of_the_delete_at_height() -> None:
    for bins in ({"locked": True}, {"preserveUntil": 5000}, {"unminedSince": 900}):
        record = master(0, **bins)
        assert "signal" not in record.note((1, 1))
        assert (record["spentExtraRecs"], record["deleteAtHeight"]) == (1, None)
    kept = master(0)
    kept.note((1, 1), retention=0)
    assert (kept["spentExtraRecs"], kept["deleteAtHeight"]) == (1, None)


@pytest.mark.parametrize("before", [0, 1, 32767, 32768, 65535, 65536, 65537, 200_000])
def test_which_note_is_newer_goes_on_around_the_wrap(before: int) -> None:
    """Numbers are kept modulo 65,536: one that is less than half of it ahead is newer, and none behind is."""
    for ahead, is_newer in (
        (1, True),
        (2, True),
        (32767, True),
        (32768, False),
        (32769, False),
        (65535, False),
        (0, False),
        (-1, False),
        (-2, False),
        (-32767, False),
    ):
        seq = before + ahead
        if seq < 0:
            continue
        record = master(0, before)
        record.note((2, seq))
        newest = seq if is_newer else before
        assert (heard(record), record["spentExtraRecs"]) == ([0, newest % 65536], newest % 2)


@pytest.mark.parametrize(
    "notes",
    [
        [[0, 1]],
        [[3, 1]],
        [[-1, 1]],
        [[1, 1], [3, 1]],
        [[1, -1]],
        [[1, 1.0]],
        [[1.0, 1]],
        [[1]],
        [[]],
        [[None, 1]],
        [["1", 1]],
        [None],
        [7],
        ["note"],
        {},
        None,
        7,
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_malformed_notes_are_refused_before_anything_is_taken(notes: Any, known: bool) -> None:
    record = master(0, 0, **({} if known else {"childStates": None}))
    before = record.bins
    assert refused(record.call("noteChild", notes, 1000, RETENTION), "INVALID_PARAMETER")
    assert record.bins == before


def test_only_a_master_takes_notes() -> None:
    assert refused(Ruled.missing().note((1, 1)), "TX_NOT_FOUND")
    assert refused(Ruled.child().note((1, 1)), "INVALID_PARAMETER")
    assert refused(Ruled().note((1, 1)), "INVALID_PARAMETER")


def histories(flips: int, most: int) -> Iterator[list[int]]:
    """Each note of a child that changed so often, in every order, lost, or as often as `most`; but the newest, which is
    asked for again, is never lost."""
    for times in itertools.product(range(most + 1), repeat=flips):
        if flips and times[-1] == 0:
            continue
        notes = [seq for seq, count in enumerate(times, start=1) for _ in range(count)]
        yield from map(list, sorted(set(itertools.permutations(notes))))


def play(record: Ruled, notes: Iterable[Note]) -> Ruled:
    for note in notes:
        assert "RECOUNT" not in record.note(note).values()
    return record


@pytest.mark.parametrize("start", [0, 65533, 65534, 131071])
@pytest.mark.parametrize(("flips", "most"), [(1, 3), (2, 2), (3, 2), (4, 1)])
def test_every_order_loss_and_doubling_of_a_childs_notes_gives_the_same_master(
    start: int, flips: int, most: int
) -> None:
    expected = master(start + flips).bins or {}
    for history in histories(flips, most):
        record = play(master(start), [(1, start + seq) for seq in history])
        after = dict(record.bins or {})
        assert (after.pop("deleteAtHeight", None) is not None) == ((start + flips) % 2 == 1), history
        assert after == expected, history


def interleavings(first: Sequence[Note], second: Sequence[Note]) -> Iterator[list[Note]]:
    """All orders of both, each in its own order."""
    for places in itertools.combinations(range(len(first) + len(second)), len(first)):
        firsts, seconds = iter(first), iter(second)
        yield [next(firsts if at in places else seconds) for at in range(len(first) + len(second))]


def test_notes_of_two_children_do_not_disturb_each_other() -> None:
    for flips_1, flips_2 in ((2, 1), (2, 2), (3, 1)):
        expected = None
        for first, second in itertools.product(histories(flips_1, 1), histories(flips_2, 1)):
            for notes in interleavings([(1, seq) for seq in first], [(3, seq) for seq in second]):
                record = play(master(0, 1, 0), notes)
                after = (heard(record), record["spentExtraRecs"], record["deleteAtHeight"])
                expected = expected or after
                assert after == expected, notes
        assert expected is not None
        assert expected[0] == [flips_1, 1, flips_2]


# Recounts.


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
    answers = [(index, tell(child)["stateSeq"]) for index, child in enumerate(children, start=1)]
    assert record.note(*answers)["signal"] == "DAHSET"
    assert record["spentExtraRecs"] == 2


def test_a_child_that_was_changed_by_another_program_is_told_right_when_it_is_asked_again() -> None:
    child, record = single(), master(0)
    record.note((1, child.spend((0, OURS))["stateSeq"]))
    assert record["deleteAtHeight"] is not None
    child.bins = (child.bins or {}) | {"utxos": [HASHES[0]], "spentUtxos": 0}  # taken back, stateSeq as it was
    record.note((1, child.unspend()["stateSeq"]))
    assert (heard(record), record["spentExtraRecs"], record["deleteAtHeight"]) == ([2], 0, None)


def test_a_pruned_spenders_refusal_leaves_the_childs_state_alone() -> None:
    child = single(deletedChildren=OURS_PRUNED)
    before = child.bins
    child.spend((0, OURS))
    child.unspend()
    assert child.bins == before


# The field's own counter.


def test_increment_counts_within_its_bounds() -> None:
    record = Ruled(totalExtraRecs=2)
    for delta, code, count in ((-1, "INVALID_PARAMETER", 0), (3, "INVALID_PARAMETER", 0), (2, None, 2), (-2, None, 0)):
        result = increment(record, delta)
        assert refused(result, code) if code else result["status"] == "OK"
        assert record["spentExtraRecs"] == count


def test_increment_refuses() -> None:
    assert refused(increment(Ruled.missing(), 1), "TX_NOT_FOUND")
    for delta in (0, 1):
        assert refused(increment(Ruled.child(), delta), "INVALID_PARAMETER")
    for record in (Ruled(totalExtraRecs=2), master(0, 0)):
        for delta in (0.5, "1", None):
            assert refused(increment(record, delta), "INVALID_PARAMETER")


@pytest.mark.parametrize("delta", [-1, 0, 1, 5])
def test_a_master_that_knows_its_children_is_not_incremented_but_recounted(delta: int) -> None:
    record = master(1, 0)
    before = record.bins
    assert increment(record, delta) == {"status": "OK", "signal": "RECOUNT", "childCount": 2}
    assert record.bins == before
