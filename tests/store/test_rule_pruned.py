"""addDeletedChildren: the spenders of a record's outputs that were pruned."""

from typing import Any

import pytest

from tests.support.ruled import FROZEN, HASHES, OURS, THEIRS, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

US, THEM = OURS[:32], THEIRS[:32]
OUR_MARK, THEIR_MARK = "0a" * 32, "0c" + "0b" * 31
SPENT = {"utxos": [HASHES[0] + OURS, HASHES[1] + THEIRS, HASHES[2], HASHES[3] + FROZEN]}


def add(record: Ruled, *marks: Any) -> dict[str, Any]:
    return record.call("addDeletedChildren", [list(mark) for mark in marks])


def test_a_spender_is_noted_where_the_output_names_it() -> None:
    record = Ruled(**SPENT)
    for _ in range(2):
        assert add(record, (0, US)) == {"status": "OK"}
        assert record["deletedChildren"] == {OUR_MARK: True}
    add(record, (1, THEM), (0, US))
    assert record["deletedChildren"] == {OUR_MARK: True, THEIR_MARK: True}


@pytest.mark.parametrize(
    "mark",
    [(0, THEM), (1, US), (2, US), (3, FROZEN[:32]), (4, US), (2**32, US), (0, OURS[31::-1])],
    ids=["another's", "of another output", "unspent", "frozen", "no such output", "far out", "reversed"],
)
def test_a_spender_is_not_noted_where_the_output_does_not_name_it(mark: tuple[int, bytes]) -> None:
    record = Ruled(**(SPENT | {"utxos": [HASHES[0] + THEIRS, *SPENT["utxos"][1:]]} if mark[1] != THEM else SPENT))
    before = record.bins
    assert add(record, mark) == {"status": "OK"}
    assert record.bins == before


def test_of_several_marks_each_goes_by_its_own_output() -> None:
    record = Ruled(**SPENT, deletedChildren={"ee" * 32: True})
    assert add(record, (2, US), (1, US), (1, THEM)) == {"status": "OK"}
    assert record["deletedChildren"] == {"ee" * 32: True, THEIR_MARK: True}


def test_there_are_no_more_marks_than_outputs() -> None:
    """What a marked spender has it keeps: so nobody else can be marked for that output."""
    record = Ruled(utxos=[HASHES[0] + OURS])
    add(record, (0, US))
    assert refused(record.unspend(), "INVALID_SPEND")
    assert refused(record.release(), "INVALID_SPEND")
    record.call("freeze", 0, HASHES[0])
    record.spend((0, THEIRS))
    add(record, (0, THEM))
    assert record["deletedChildren"] == {OUR_MARK: True}


def test_a_record_is_not_made() -> None:
    assert refused(add(Ruled.missing(), (0, US)), "TX_NOT_FOUND")
    assert refused(add(Ruled(utxos=None), (0, US)), "UTXOS_NOT_FOUND")
    assert add(Ruled(**SPENT)) == {"status": "OK"}


@pytest.mark.parametrize(
    "mark",
    [(-1, US), (1.0, US), (None, US), ("0", US), (0, US[:31]), (0, OURS), (0, b""), (0, None), (0, "a" * 32), (0,), ()],
)
def test_a_malformed_mark_is_refused_and_none_is_noted(mark: tuple[Any, ...]) -> None:
    record = Ruled(**SPENT)
    before = record.bins
    assert refused(add(record, (0, US), mark), "INVALID_PARAMETER")
    assert record.bins == before
    assert refused(add(Ruled.missing(), mark), "INVALID_PARAMETER")
    for marks in (None, 7, {}, [None], [7]):
        assert refused(record.call("addDeletedChildren", marks), "INVALID_PARAMETER")
