"""What a sweep found: lines of points, with what their axes mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

Point = tuple[float, float]


class Role(Enum):
    """Whose a line is. TAIL: of the line before it, where the slowest percent is."""

    OURS = "utxod"
    TAIL = "utxod's p99"
    LIMIT = "limit"
    PEER = "peer"


class Line(NamedTuple):
    label: str
    points: Sequence[Point]
    role: Role = Role.OURS


@dataclass(frozen=True, slots=True)
class Sweep:
    """name: of its file. x, y: what the axes show, with the unit; both logarithmic. steps: those of x, where it is what
    is changed."""

    name: str
    title: str
    x: str
    y: str
    lines: Sequence[Line]
    steps: Sequence[float] = ()

    def rows(self) -> list[dict[str, Any]]:
        """As a report's details have it: a row for each point."""
        return [
            {"line": line.label, self.x: float(f"{x:.4g}"), self.y: float(f"{y:.4g}")}
            for line in self.lines
            for x, y in line.points
        ]


def level(label: str, value: float, steps: Sequence[float], role: Role = Role.LIMIT) -> Line:
    """A limit that does not depend on what is changed."""
    return Line(label, [(steps[0], value), (steps[-1], value)], role)
