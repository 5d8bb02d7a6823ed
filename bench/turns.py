"""The same measurement of this revision and of another one, in turns (A B, B A, A B, ...), each time in processes of
its own: what the machine does meanwhile meets both alike, and the ratio of each pair says what the change did."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .processes import started
from .report import Figure, MeasurementError, Report
from .revision import Revision, revision, this_one


def in_turns(name: str, against: str, rounds: int, options: Sequence[str]) -> Report:
    """name: of the measurement. against: a revision. rounds: pairs. options: of each one's command line.

    The report is this revision's, with a ratio to the other's figure of the same name beside each; `details` names what
    only one of them measures. Raises MeasurementError.
    """
    mine, other = this_one(), revision(against)
    report = Report(name)
    found: dict[str, list[dict[str, Any]]] = {side.name: [] for side in (mine, other)}
    for number in range(rounds):
        for side in (mine, other) if number % 2 == 0 else (other, mine):
            measured = _measured(side, name, options)
            found[side.name].append(measured)
            for promise, held in measured["promises"].items():
                report.promise(f"{side.name}: {promise}", held)
    own, others = _figures(found[mine.name], "figures"), _figures(found[other.name], "figures")
    report.figures = [
        figure.beside(replace(others[name], name=f"the same of {other.name}")) if name in others else figure
        for name, figure in own.items()
    ]
    report.limits = [
        *_figures(found[mine.name], "limits").values(),
        *(replace(figure, name=f"{other.name}: {name}", goal=None, ratios=()) for name, figure in others.items()),
    ]
    for side, figures, elsewhere in ((mine, own, others), (other, others, own)):
        if alone := [name for name in figures if name not in elsewhere]:
            report.details[f"{side.name} alone measures"] = ", ".join(alone)
    return report


def _figures(reports: Sequence[dict[str, Any]], kind: str) -> dict[str, Figure]:
    """By name, those that every round has."""
    rounds = [{figure["name"]: figure for figure in report.get(kind, ())} for report in reports]
    return {
        name: Figure.of_maps([found[name] for found in rounds])
        for name in rounds[0]
        if all(name in found for found in rounds)
    }


def _measured(side: Revision, name: str, options: Sequence[str]) -> dict[str, Any]:
    """One round's report, as JSON has it."""
    command = [str(side.python), "-m", "bench", name, "--rounds", "1", *options, "--json"]
    path = os.environ | {"PYTHONPATH": str(side.tree)}
    with started(command, cwd=side.tree, env=path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output, errors = process.communicate()
    try:
        report: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        said = "\n".join((output + errors).splitlines()[-15:])
        raise MeasurementError(
            f"{side.name}: `python -m bench {name}` in {side.tree} ended with status {process.returncode} and no "
            f"report:\n{said}\nIs that a revision that has this measurement?"
        ) from None
    return report
