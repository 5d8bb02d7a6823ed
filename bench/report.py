"""What a measurement found: figures beside their limits and goals, and promises that were checked on the way.

As JSON it is one object on the last line. `ok` is false where a promise broke (then the exit code is 1); `met` is false
where a speed goal fell short, which is no failure. A figure that travels from one machine to another is a ratio: it is
made of what was measured in the same round.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Final, Self

from rich.table import Table
from rich.text import Text

from protocol import Outcome
from protocol.codes import NO_ANSWER
from utxod.rendering import render, report_tables

# What one round measured: of a figure, or a limit, by its name.
Round = dict[str, float]
# Of a figure, by its name: the limits it is held against, each with the goal of the ratio.
Limits = Mapping[str, Mapping[str, float | None]]


class MeasurementError(Exception):
    """Something that a measurement needs is not here. The message names it, and what to do."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of several rounds. goal: None if it has no goal. higher_is_better: else the goal is a bound. ratios:
    this figure, each round's divided by the same round's of another, whose name they have."""

    name: str
    rounds: Sequence[float]
    unit: str
    goal: float | None = None
    higher_is_better: bool = True
    ratios: "Sequence[Figure]" = ()

    def beside(self, other: "Figure", goal: float | None = None) -> "Figure":
        """The same, with its ratio to the other one. goal: of the ratio."""
        rounds = [mine / its for mine, its in zip(self.rounds, other.rounds, strict=True)]
        ratio = Figure(other.name, rounds, RATIO, goal, self.higher_is_better)
        return replace(self, ratios=(*self.ratios, ratio))

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
            "higher_is_better": self.higher_is_better,
            "ratios": [ratio.as_map() for ratio in self.ratios],
        }

    @classmethod
    def of_maps(cls, maps: Sequence[Mapping[str, Any]]) -> Self:
        """A figure whose rounds were measured apart, in reports of their own."""
        first = maps[0]
        ratios = [cls.of_maps(ratios) for ratios in zip(*(found.get("ratios", ()) for found in maps), strict=True)]
        higher_is_better = first.get("higher_is_better", True)
        return cls(
            first["name"], [found["value"] for found in maps], first["unit"], first["goal"], higher_is_better, ratios
        )


@dataclass(slots=True)
class Report:
    """promises: what was checked, and whether it held every time. details: what else was seen, as a daemon's report.
    limits: what the figures are held against."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    promises: dict[str, bool] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    limits: list[Figure] = field(default_factory=list)

    def promise(self, what: str, holds: bool) -> None:
        """A promise may be checked many times; once broken it stays so."""
        self.promises[what] = self.promises.get(what, True) and holds

    def add(self, rounds: Sequence[Round], unit: str, limits: Limits, *, higher_is_better: bool = True) -> None:
        """The figures that `limits` names, with their ratios, and the limits themselves."""

        def figure(name: str) -> Figure:
            return Figure(name, [measured[name] for measured in rounds], unit, None, higher_is_better)

        for name, goals in limits.items():
            added = figure(name)
            for limit, goal in goals.items():
                added = added.beside(figure(limit), goal)
            self.figures.append(added)
        self.limits += [figure(limit) for limit in dict.fromkeys(limit for goals in limits.values() for limit in goals)]

    @property
    def ok(self) -> bool:
        return all(self.promises.values())

    def as_map(self) -> dict[str, Any]:
        return {
            "bench": self.name,
            "ok": self.ok,
            "met": all(found.met for figure in self.figures for found in (figure, *figure.ratios)),
            "figures": [figure.as_map() for figure in self.figures],
            "limits": [limit.as_map() for limit in self.limits],
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
            table.add_row(*_row(figure))
            for ratio in figure.ratios:
                table.add_row(*_row(replace(ratio, name=f"    / {ratio.name}")))
        if self.limits:
            table.add_row()
        for limit in self.limits:
            table.add_row(*_row(limit))
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


def _row(figure: Figure) -> list[str | Text]:
    spread = f"{_text(min(figure.rounds))} - {_text(max(figure.rounds))}"
    goal = "" if figure.goal is None else f"{'' if figure.higher_is_better else '<= '}{_text(figure.goal)}"
    verdict = "" if figure.goal is None else "met" if figure.met else Text("short of it", "yellow")
    return [figure.name, f"{_text(figure.value)} {figure.unit}", spread, goal, verdict]


RATIO: Final = "x"
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
