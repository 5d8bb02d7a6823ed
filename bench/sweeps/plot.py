"""Sweeps as pictures, one file each. Needs the extra `plot`."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from ..report import MeasurementError
from .sweep import Role, Sweep

_STYLES: Final[dict[Role, dict[str, Any]]] = {
    Role.OURS: {"marker": "o", "markersize": 4},
    Role.TAIL: {"linestyle": "--", "linewidth": 1},
    Role.LIMIT: {"color": "black", "linewidth": 1},
    Role.PEER: {"linewidth": 1, "marker": "x"},
}
_LIMITS: Final = (":", "-.", (0, (1, 4)))
_PEERS: Final = ("0.35", "0.55", "0.75")


def check_installed() -> None:
    """Before anything is measured. Raises MeasurementError."""
    if find_spec("matplotlib") is None:
        raise MeasurementError(
            "matplotlib is not installed: the extra `plot` has it: .venv/bin/pip install -e '.[plot]'"
        )


def draw(sweeps: Sequence[Sweep], directory: Path) -> list[Path]:
    """directory: made where it is not there. Returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for sweep in sweeps:
        file = directory / f"{sweep.name}.svg"
        _picture(sweep).savefig(file)
        files.append(file)
    return files


def _picture(sweep: Sweep) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 (an extra)

    picture = Figure(figsize=(9, 5.5), layout="constrained")
    axes = picture.add_subplot()
    color = ""
    seen: dict[Role, int] = dict.fromkeys(Role, 0)
    for line in sweep.lines:
        style = dict(_STYLES[line.role])
        if line.role is Role.TAIL:
            style["color"] = color
        elif line.role is Role.LIMIT:
            style["linestyle"] = _LIMITS[seen[line.role] % len(_LIMITS)]
        elif line.role is Role.PEER:
            style["color"] = _PEERS[seen[line.role] % len(_PEERS)]
        seen[line.role] += 1
        (drawn,) = axes.plot(*zip(*line.points, strict=True), label=line.label, **style)
        color = drawn.get_color()
    axes.set(title=sweep.title, xlabel=sweep.x, ylabel=sweep.y, xscale="log", yscale="log")
    if sweep.steps:
        axes.set_xticks(sweep.steps)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_plain)
        axis.set_minor_formatter("")
    axes.grid(True, which="major", linewidth=0.5, alpha=0.5)
    picture.legend(loc="outside right upper", fontsize="small", frameon=False)
    return picture


def _plain(value: float, position: float) -> str:
    """A number as people write it: 20,000 rather than 2 x 10^4."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
