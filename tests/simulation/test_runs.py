"""The broker keeps its promises in a simulated world of failing workers, stores, networks and submitters; and the
simulation is one that would notice if it did not."""

import gc
from collections import Counter
from typing import Any

import pytest

from broker.core import Core
from broker.entry import TRANSITIONS, Entry, State
from tests.simulation.mutants import MUTANTS
from tests.simulation.run import run_seed
from tests.simulation.world import World

RUNS = 200  # twice as many as find every planted bug
FOUND_WITHIN = 100


@pytest.mark.parametrize("first", range(0, RUNS, 100))
def test_no_run_breaks_a_promise(first: int) -> None:
    outcomes = [run_seed(seed) for seed in range(first, first + 100)]
    assert [outcome for outcome in outcomes if outcome.violation] == []
    assert sum(outcome.steps for outcome in outcomes) > 300 * len(outcomes)


def test_a_seed_is_the_whole_of_a_run() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        run_seed(7, trace=trace.append)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 100


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    seeds = range(1000, 1000 + FOUND_WITHIN)
    assert any(run_seed(seed, MUTANTS[name]).violation for seed in seeds), MUTANTS[name].__doc__


def test_the_runs_meet_everything_that_can_go_wrong() -> None:
    cores: list[Core] = []

    def make_core(*args: Any) -> Core:
        cores.append(Core(*args))
        return cores[-1]

    worlds = [World(seed, make_core) for seed in range(80)]
    for world in worlds:
        world.run()
    met = sum((Counter(core.report(0)["counters"]) for core in cores), Counter())
    refused = {"BAD_REQUEST", "OVERLOADED", "SHUTTING_DOWN", "STALE", "TOO_LARGE", "UNAVAILABLE", "UNSUPPORTED"}
    failed = {"DEADLINE_EXCEEDED", "INTERNAL", "SHUTTING_DOWN", "UNAVAILABLE", "WORKER_CRASHED"}
    assert {f"refused {code}" for code in refused} | {f"failed {code}" for code in failed} <= met.keys()
    assert {"condemned", "in_doubt", "late", "malformed", "read_again", "undeliverable", "unreadable"} <= met.keys()
    assert len(cores) > len(worlds), "no daemon was killed"
    tasks = [task for world in worlds for task in world.tasks.values()]
    assert any(task.parent and task.executed for task in tasks)
    assert any(task.owed and task.executed for task in tasks)


def test_the_runs_walk_every_transition_of_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that none stands in the table that the broker does not need, and none is left untried."""
    walked: set[tuple[State, State]] = set()
    change = Entry.to

    def to(entry: Entry, state: State) -> None:
        walked.add((entry.state, state))
        change(entry, state)

    monkeypatch.setattr(Entry, "to", to)
    for seed in range(20):
        run_seed(seed)
    assert walked == {(before, after) for before, afters in TRANSITIONS.items() for after in afters}


def test_a_run_leaves_no_entry_and_makes_no_garbage_that_only_the_collector_could_free() -> None:
    gc.collect()
    gc.disable()
    try:
        for seed in range(20):
            world = World(seed)
            world.weather.restart = 0  # A daemon that is killed leaves what it held.
            world.run()
            assert [entry for entry in gc.get_objects() if isinstance(entry, Entry)] == []
    finally:
        gc.enable()
