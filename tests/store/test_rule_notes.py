"""Notes of its children at a master: which is newer, and what becomes of it in whatever order they come."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from tests.support.ruled import RETENTION, Ruled, refused
from tests.support.ruled_family import Note, heard, master

pytestmark = pytest.mark.usefixtures("run_rules")


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
