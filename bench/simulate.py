"""The broker's core in a simulated world, as many runs as asked: no promise breaks, and every planted bug is found."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from .report import Figure, Report

if TYPE_CHECKING:
    from tests.simulation.run import Outcome

STEP_GOAL_US: Final = 60.0
NO_VIOLATION: Final = "no simulated run broke a promise"
BUGS_FOUND: Final = "every planted bug was found"
_CHUNK: Final = 50
_FOUND_WITHIN: Final = 300
_VIOLATIONS_SHOWN: Final = 10


def simulate(seeds: int, first_seed: int, processes: int, seed: int | None, trace: bool) -> Report:
    """seeds: how many runs, from `first_seed` on. processes: 0 for as many as there are CPUs. seed: this run alone.
    trace: print its events."""
    report = Report("simulate")
    if seed is not None:
        _check(report, _one(seed, trace))
        return report
    started = time.perf_counter()
    steps, busy = 0, 0.0
    violations: list[Outcome] = []
    processes = min(processes or os.cpu_count() or 1, seeds)
    with ProcessPoolExecutor(processes) as pool, _progress(seeds) as progress:
        firsts = range(first_seed, first_seed + seeds, _CHUNK)
        counts = [min(_CHUNK, first_seed + seeds - first) for first in firsts]
        for count, (chunk, seconds, failed) in zip(counts, pool.map(_chunk, firsts, counts), strict=True):
            steps += chunk
            busy += seconds
            violations += failed
            for outcome in failed:
                _check(report, outcome, len(violations) <= _VIOLATIONS_SHOWN)
            progress.advance(progress.task_ids[0], count)
    report.promise(NO_VIOLATION, True)
    elapsed = time.perf_counter() - started
    report.figures += [
        Figure("runs", [seeds], "runs"),
        Figure("steps, each with its invariants checked", [steps], "steps"),
        Figure("steps of one run", [steps / seeds], "steps"),
        Figure("processor time of one step", [busy / max(1, steps) * 1e6], "us", STEP_GOAL_US, higher_is_better=False),
        Figure(f"{processes} processes", [steps / elapsed], "steps/s"),
    ]
    _find_planted_bugs(report)
    return report


def _one(seed: int, trace: bool) -> "Outcome":
    run_seed = _simulator()
    return run_seed(seed, trace=click.echo if trace else None)


def _chunk(first: int, count: int) -> tuple[int, float, "list[Outcome]"]:
    """Runs `count` seeds: (steps, seconds of processor time, what broke a promise)."""
    run_seed = _simulator()
    started = time.process_time()
    outcomes = [run_seed(seed) for seed in range(first, first + count)]
    seconds = time.process_time() - started
    return sum(outcome.steps for outcome in outcomes), seconds, [one for one in outcomes if one.violation]


def _check(report: Report, outcome: "Outcome", shown: bool = True) -> None:
    report.promise(NO_VIOLATION, outcome.violation is None)
    if outcome.violation is not None and shown:
        click.echo(f"seed {outcome.seed}, step {outcome.steps}: {outcome.violation}")
        click.echo(f"  its events: python -m bench simulate --seed {outcome.seed} --trace")


def _simulator() -> "Callable[..., Outcome]":
    """The simulator is a part of the tests, which are not installed."""
    try:
        from tests.simulation.run import run_seed  # noqa: PLC0415
    except ImportError as error:
        raise click.ClickException(f"the simulator is in a checkout's tests/: {error}") from None
    return run_seed


@contextmanager
def _progress(total: int) -> Iterator[Progress]:
    """A bar, on a terminal only; beside the output."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("runs", total=total)
        yield progress


def _find_planted_bugs(report: Report) -> None:
    run_seed = _simulator()
    from tests.simulation.mutants import MUTANTS  # noqa: PLC0415

    for name, mutant in MUTANTS.items():
        found = next((seed for seed in range(_FOUND_WITHIN) if run_seed(seed, mutant).violation), None)
        report.promise(BUGS_FOUND, found is not None)
        report.figures.append(Figure(f"planted bug {name} found after", [(found or 0) + 1], "seeds"))
