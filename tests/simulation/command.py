"""The broker's core in a simulated world, or daemons on a simulated set that is changed record by record, as many runs
as asked: no promise breaks, and every planted bug is found."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from bench.report import Figure, Report
from tests.simulation.mutants import MUTANTS
from tests.simulation.record_mutants import SIMULATED
from tests.simulation.run import Outcome, run_records_seed, run_seed

STEP_GOAL_US: Final = 60.0
NO_VIOLATION: Final = "no simulated run broke a promise"
BUGS_FOUND: Final = "every planted bug was found"
_CHUNK: Final = 50
_FOUND_WITHIN: Final = 300
_VIOLATIONS_SHOWN: Final = 10


def simulate(seeds: int, first_seed: int, processes: int, seed: int | None, trace: bool, records: bool) -> Report:
    """seeds: how many runs, from `first_seed` on. processes: 0 for as many as there are CPUs. seed: this run alone.
    trace: print its events. records: runs of daemons on one set of records, in place of the broker's."""
    report = Report("simulation")
    with without_log():
        if seed is None:
            _run(report, seeds, first_seed, processes, records)
        else:
            outcome = _simulator(records)(seed, trace=click.echo if trace else None)
            _check(report, outcome, records)
    return report


@contextmanager
def without_log() -> Iterator[None]:
    """What workers log of faults is no news here."""
    log = logging.getLogger("utxod")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _run(report: Report, seeds: int, first_seed: int, processes: int, records: bool) -> None:
    started = time.perf_counter()
    steps, busy = 0, 0.0
    violations: list[Outcome] = []
    processes = min(processes or os.cpu_count() or 1, seeds)
    with ProcessPoolExecutor(processes) as pool, _progress(seeds) as progress:
        firsts = range(first_seed, first_seed + seeds, _CHUNK)
        counts = [min(_CHUNK, first_seed + seeds - first) for first in firsts]
        for count, (chunk, seconds, failed) in zip(
            counts, pool.map(_chunk, firsts, counts, [records] * len(counts)), strict=True
        ):
            steps += chunk
            busy += seconds
            violations += failed
            for outcome in failed:
                _check(report, outcome, records, len(violations) <= _VIOLATIONS_SHOWN)
            progress.advance(progress.task_ids[0], count)
    report.promise(NO_VIOLATION, True)
    goal = None if records else STEP_GOAL_US
    elapsed = time.perf_counter() - started
    report.figures += [
        Figure("runs", [seeds], "runs"),
        Figure("steps, each with its invariants checked", [steps], "steps"),
        Figure("steps of one run", [steps / seeds], "steps"),
        Figure("processor time of one step", [busy / max(1, steps) * 1e6], "us", goal, higher_is_better=False),
        Figure(f"{processes} processes", [steps / elapsed], "steps/s"),
    ]
    _find_planted_bugs(report, records)


def _chunk(first: int, count: int, records: bool) -> tuple[int, float, list[Outcome]]:
    """Runs `count` seeds: (steps, seconds of processor time, what broke a promise)."""
    run_seed = _simulator(records)
    started = time.process_time()
    with without_log():
        outcomes = [run_seed(seed) for seed in range(first, first + count)]
    seconds = time.process_time() - started
    return sum(outcome.steps for outcome in outcomes), seconds, [outcome for outcome in outcomes if outcome.violation]


def _check(report: Report, outcome: Outcome, records: bool, shown: bool = True) -> None:
    report.promise(NO_VIOLATION, outcome.violation is None)
    if outcome.violation is not None and shown:
        click.echo(f"seed {outcome.seed}, step {outcome.steps}: {outcome.violation}")
        which = " --records" if records else ""
        click.echo(f"  its events: python -m tests.simulation{which} --seed {outcome.seed} --trace")


def _simulator(records: bool) -> Callable[..., Outcome]:
    return run_records_seed if records else run_seed


@contextmanager
def _progress(total: int) -> Iterator[Progress]:
    """A bar, on a terminal only; beside the output."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("runs", total=total)
        yield progress


def _find_planted_bugs(report: Report, records: bool) -> None:
    run_seed = _simulator(records)
    mutants: Mapping[str, Any] = SIMULATED if records else MUTANTS
    for name, mutant in mutants.items():
        found = next((seed for seed in range(_FOUND_WITHIN) if run_seed(seed, mutant).violation), None)
        report.promise(BUGS_FOUND, found is not None)
        report.figures.append(Figure(f"planted bug {name} found after", [(found or 0) + 1], "seeds"))
