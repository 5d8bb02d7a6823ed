"""All sweeps, one after the other, drawn where that is wanted."""

from pathlib import Path

from ..report import Report
from .commits import commits
from .load import load
from .plot import check_installed, draw
from .set_size import set_size
from .workers import workers


def everything(plot: str | None, seconds: float, records: int) -> Report:
    """plot: the directory for the pictures; None: none. seconds: of each step. records: that the set grows to."""
    if plot is not None:
        check_installed()
    report = Report("all")
    sweeps = [
        *load(report, seconds),
        *workers(report, seconds),
        *set_size(report, seconds, records),
        *commits(report, seconds),
    ]
    report.details.update({sweep.name: sweep.rows() for sweep in sweeps})
    if plot is not None:
        report.details["pictures"] = ", ".join(str(file) for file in draw(sweeps, Path(plot)))
    return report
