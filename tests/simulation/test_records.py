"""Coins, counters and locks keep their promises in simulated runs of daemons that share one set, whose records are
changed one at a time; and the simulation is one that would notice if they did not."""

from collections import Counter

import pytest

from tests.simulation.record_mutants import SIMULATED
from tests.simulation.records import Steps
from tests.simulation.run import run_records_seed
from tests.simulation.shared_set_world import SharedSetWorld

RUNS = 80
# A little before one that meets another life of a transaction, the rarest of all.
FIRST_SEED = 1090
FOUND_WITHIN = 300


@pytest.mark.parametrize("first", range(0, RUNS, 40))
def test_no_run_breaks_a_promise(first: int) -> None:
    outcomes = [run_records_seed(seed) for seed in range(first, first + 40)]
    assert [outcome for outcome in outcomes if outcome.violation] == []
    assert sum(outcome.steps for outcome in outcomes) > 300 * len(outcomes)


@pytest.mark.parametrize("seed", [1, 7])  # in the first one, rules answer with maps in maps
def test_a_seed_is_the_whole_of_a_run(seed: int) -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        run_records_seed(seed, trace=trace.append)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 100


@pytest.mark.parametrize("name", SIMULATED)
def test_a_planted_bug_is_found(name: str) -> None:
    seeds = range(FIRST_SEED, FIRST_SEED + FOUND_WITHIN)
    assert any(run_records_seed(seed, SIMULATED[name]).violation for seed in seeds)


def test_the_runs_meet_everything_that_can_go_wrong() -> None:
    struck: Counter[str] = Counter()
    counters: Counter[str] = Counter()
    for seed in range(30):
        world = SharedSetWorld(seed, Steps())
        world.run()
        struck.update(world.storm.struck)
        for daemon in world.daemons:
            counters += daemon.core.counters
    assert {"crash", "doubt", "hang", "store_error", "lost_reply", "late_reply", "twice", "kill"} <= struck.keys()
    assert {"late", "lost_requests", "in_doubt", "condemned"} <= counters.keys()
