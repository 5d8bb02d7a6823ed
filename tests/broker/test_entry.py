"""The states of an entry: each transition of the table, each that is none, and what follows for `executed`."""

import ast
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import broker
from broker.entry import ANSWERED, AWAITING_PARTS, DISPATCHED, QUEUED, TRANSITIONS, Entry, IllegalTransition, State
from protocol.codes import NO, UNKNOWN

# How an entry comes to each state, and the table once more, by hand.
WAYS = {QUEUED: [], DISPATCHED: [DISPATCHED], AWAITING_PARTS: [DISPATCHED, AWAITING_PARTS], ANSWERED: [ANSWERED]}
LEGAL = {
    (QUEUED, DISPATCHED),
    (QUEUED, ANSWERED),
    (DISPATCHED, QUEUED),
    (DISPATCHED, AWAITING_PARTS),
    (DISPATCHED, ANSWERED),
    (AWAITING_PARTS, ANSWERED),
}


def entry(*way: State, **fields: Any) -> Entry:
    made = Entry(operation="get", pool="read", deadline=1, weight=1, body=b"", arrived=0, **fields)
    for state in way:
        made.to(state)
    return made


def names(transition: Any) -> str:
    return "-".join(state.name for state in transition)


@pytest.mark.parametrize("transition", sorted(LEGAL, key=names), ids=names)
def test_a_transition_of_the_table_is_made(transition: tuple[State, State]) -> None:
    before, after = transition
    changing = entry(*WAYS[before])
    changing.to(after)
    assert changing.state is after


@pytest.mark.parametrize(
    "transition", [transition for transition in product(State, State) if transition not in LEGAL], ids=names
)
def test_any_other_raises_and_changes_nothing(transition: tuple[State, State]) -> None:
    before, after = transition
    changing = entry(*WAYS[before])
    with pytest.raises(IllegalTransition, match=f"{before.value} -> {after.value}"):
        changing.to(after)
    assert changing.state is before
    assert not changing.retried


def test_the_table_has_these_transitions_and_no_other() -> None:
    assert {(before, after) for before, afters in TRANSITIONS.items() for after in afters} == LEGAL


def test_an_entry_goes_back_into_the_queue_once() -> None:
    retried = entry(DISPATCHED, QUEUED, DISPATCHED)
    with pytest.raises(IllegalTransition):
        retried.to(QUEUED)
    assert retried.state is DISPATCHED


def test_a_part_of_a_read_that_lost_its_worker_goes_back_never() -> None:
    part = entry(DISPATCHED, only_item=0)
    with pytest.raises(IllegalTransition):
        part.to(QUEUED)


@pytest.mark.parametrize(
    ("way", "executed"),
    [
        ([], NO),
        ([DISPATCHED], UNKNOWN),
        ([DISPATCHED, AWAITING_PARTS], UNKNOWN),
        ([DISPATCHED, QUEUED], UNKNOWN),
        ([DISPATCHED, QUEUED, DISPATCHED], UNKNOWN),
    ],
    ids=lambda way: names(way) or "QUEUED" if isinstance(way, list) else way,
)
def test_no_is_said_only_of_what_no_worker_has_ever_held(way: list[State], executed: str) -> None:
    assert entry(*way).executed == executed


def test_a_part_of_a_read_may_have_been_executed_before_it_is_dispatched() -> None:
    assert entry(only_item=0).executed == UNKNOWN


def test_nobody_else_in_the_broker_changes_a_state_or_says_that_it_was_retried() -> None:
    """`to` is the one door because nothing goes round it; Python itself would let it."""
    changed = {
        f"{path.name}: {ast.unparse(node)}"
        for path in sorted(Path(broker.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in ("state", "retried")
    }
    assert changed == {"entry.py: self.retried", "entry.py: self.state"}
