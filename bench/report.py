"""What a measurement found: figures beside their goals, and promises that were checked on the way.

As JSON it is one object on the last line. `ok` is false where a promise broke (then the exit code is 1); `met` is false
where a speed goal fell short, which is no failure.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from protocol import Outcome
from protocol.codes import NO_ANSWER
from utxod.rendering import render, report_tables


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of several rounds. goal: None if it has no goal. higher_is_better: else the goal is a bound."""

    name: str
    rounds: Sequence[float]
    unit: str
    goal: float | None = None
    higher_is_better: bool = True

    @property
    def value(self) -> float:
        return median(self.rounds)

    @property
    def met(self) -> bool:
        if self.goal is None:
            return True
        return self.value >= self.goal if self.higher_is_better else self.value <= self.goal

    def as_map(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "spread": [_rounded(min(self.rounds)), _rounded(max(self.rounds))],
            "unit": self.unit,
            "goal": self.goal,
            "met": self.met,
        }


@dataclass(slots=True)
class Report:
    """promises: what was checked, and whether it held every time. details: what else was seen, as a daemon's report."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    promises: dict[str, bool] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def promise(self, what: str, holds: bool) -> None:
        """A promise may be checked many times; once broken it stays so."""
        self.promises[what] = self.promises.get(what, True) and holds

    @property
    def ok(self) -> bool:
        return all(self.promises.values())

    def as_map(self) -> dict[str, Any]:
        return {
            "bench": self.name,
            "ok": self.ok,
            "met": all(figure.met for figure in self.figures),
            "figures": [figure.as_map() for figure in self.figures],
            "promises": self.promises,
            "details": self.details,
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        }

    def print(self, as_json: bool) -> None:
        """A table; or the JSON object alone."""
        if as_json:
            print(json.dumps(self.as_map()))
            return
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("", "median", "spread", "goal", ""):
            table.add_column(column, justify="left" if not column else "right")
        for figure in self.figures:
            spread = f"{_text(min(figure.rounds))} - {_text(max(figure.rounds))}"
            goal = "" if figure.goal is None else f"{'' if figure.higher_is_better else '<= '}{_text(figure.goal)}"
            verdict = "" if figure.goal is None else "met" if figure.met else Text("short of it", "yellow")
            table.add_row(figure.name, f"{_text(figure.value)} {figure.unit}", spread, goal, verdict)
        details = ["", *report_tables(self.details)] if self.details else []
        render(
            table,
            *details,
            "",
            *(
                Text.assemble("held" if held else ("BROKEN", "red"), f": {what}")
                for what, held in self.promises.items()
            ),
        )


ANSWERED: Final = "every item was answered"
RIGHT: Final = "every answer was right"


def check_answered(report: Report, outcomes: Sequence[Outcome[Any]]) -> None:
    report.promise(ANSWERED, all(outcome.code != NO_ANSWER for outcome in outcomes))


def check_outcomes(report: Report, outcomes: Sequence[Outcome[Any]], wanted: Any) -> None:
    """Every outcome is OK, with the result that is wanted of each."""
    check_answered(report, outcomes)
    report.promise(RIGHT, all(outcome.ok and outcome.result == wanted for outcome in outcomes))


def _rounded(value: float) -> float:
    return round(value) if value >= 1000 else round(value, 4)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
