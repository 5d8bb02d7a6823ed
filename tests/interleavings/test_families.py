"""Whatever comes between whatever: coins, conflicts, counters and creations keep their promises; and the models are
such that would notice if they did not."""

from typing import Final

import pytest

from tests.interleavings.creations import a_step_unanswered_after_a_death
from tests.interleavings.mutants import MUTANTS
from tests.interleavings.run import FAMILIES, explore, find


@pytest.mark.parametrize("family", FAMILIES)
def test_no_interleaving_breaks_a_promise(family: str) -> None:
    verdicts = {model.name: explore(model) for model in FAMILIES[family]()}
    assert [(name, verdict.violation, verdict.trace) for name, verdict in verdicts.items() if verdict.violation] == []
    assert all(verdict.complete for verdict in verdicts.values())
    assert sum(verdict.states for verdict in verdicts.values()) > 40_000


# Those that no model finds near its start: `python -m tests.interleavings` hunts them, too.
FAR: Final = {
    "a conflicting one is looked at before its outputs are read",
    "a release ignores the life it was of",
    "an abandon gives nothing back",
    "another life has the same number",
    "the life that was read is not given",
    "unspend ignores the life it was of",
    "what a dead creator left is kept",
    "what was found is created anew",
}


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in MUTANTS for name in MUTANTS[family] if name not in FAR]
)
def test_a_planted_bug_is_found(family: str, name: str) -> None:
    assert find(family, MUTANTS[family][name]) is not None


def test_what_is_found_is_the_shortest_way_to_it() -> None:
    """Two attempts in one dispatch: each spends both coins, and the refused one takes the other's back."""
    verdict = find("coins", MUTANTS["coins"]["a refused attempt takes its spends back"])
    assert verdict is not None
    assert "acknowledged" in (verdict.violation or "")
    assert [line.split()[1] for line in verdict.trace] == ["spend"] * 4 + ["unspend"]


def test_a_creation_that_was_answered_well_is_not_written_over_by_what_lands_late() -> None:
    verdict = explore(a_step_unanswered_after_a_death())
    assert verdict.violation is None, verdict.trace
