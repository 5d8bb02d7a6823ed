"""Every model, with one fault more than the tests take the time for; then the planted bugs."""

import time

import click

from bench.report import Figure, Report
from tests.interleavings.mutants import MUTANTS
from tests.interleavings.run import FAMILIES, explore, find, larger
from tests.simulation.command import BUGS_FOUND, NO_VIOLATION, without_log


def explore_all() -> Report:
    report = Report("interleavings")
    with without_log():
        for family in FAMILIES:
            _explore_family(report, family)
    return report


def _explore_family(report: Report, family: str) -> None:
    started, states = time.perf_counter(), 0
    for model in larger(family):
        verdict = explore(model)
        states += verdict.states
        report.promise(NO_VIOLATION, verdict.violation is None)
        if verdict.violation is not None:
            click.echo("\n  ".join((f"{family}, {model.name}: {verdict.violation}", *verdict.trace)))
        elif not verdict.complete:
            click.echo(f"{family}, {model.name}: not all of its states")
    seconds = time.perf_counter() - started
    report.figures.append(Figure(f"states of {family}", [states], "states"))
    report.figures.append(Figure(f"time for {family}", [seconds], "s", higher_is_better=False))
    for mutant in MUTANTS[family].values():
        report.promise(BUGS_FOUND, find(family, mutant) is not None)
