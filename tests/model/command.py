"""The model beside a store, as many runs as asked: no difference; or the faults that the rules have had, put back one
by one, and each found."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import SystemRandom
from typing import Final

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from bench.report import Figure, Report
from tests.model.mutants import MUTANTS, find
from tests.model.run import run
from tests.model.subject import EMBEDDED, RECORDS, opened
from tests.simulation.command import BUGS_FOUND, without_log

NO_DIFFERENCE: Final = "set and model never differed"


def model(runs: int, steps: int, store: str, seed: int | None, mutants: bool) -> Report:
    """mutants: looks for the planted faults, in place of the runs."""
    report = Report("model")
    with without_log():
        if mutants:
            _find_mutants(report)
        else:
            _run(report, runs, steps, store, SystemRandom().randrange(1 << 32) if seed is None else seed)
    return report


def _run(report: Report, runs: int, steps: int, store: str, seed: int) -> None:
    click.echo(f"seed {seed}", err=True)
    started = time.process_time()
    with opened(store) as subject, _progress(runs, "runs") as progress:
        shrinks = store in (EMBEDDED, RECORDS)  # on a server it takes too long
        outcome = run(
            subject, runs, steps, seed, shrinks=shrinks, on_run=lambda: progress.advance(progress.task_ids[0])
        )
    report.promise(NO_DIFFERENCE, outcome.difference is None)
    if outcome.difference is not None:
        click.echo(f"seed {seed}: {outcome.difference}")
    report.figures += [
        Figure("runs without a difference", [outcome.runs], "runs"),
        Figure("steps of one run", [steps], "steps"),
        Figure("processor time", [time.process_time() - started], "s", higher_is_better=False),
    ]


def _find_mutants(report: Report) -> None:
    with _progress(len(MUTANTS), "faults put back") as progress:
        for name in MUTANTS:
            found = find(name)
            report.promise(BUGS_FOUND, found is not None)
            if found is None:
                click.echo(f"not found: {name}")
            report.figures.append(Figure(f"{name}, found after", [found or 0], "runs", higher_is_better=False))
            progress.advance(progress.task_ids[0])


@contextmanager
def _progress(total: int, what: str) -> Iterator[Progress]:
    """A bar, on a terminal only; beside the output."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(what, total=total)
        yield progress
