"""One frame: all that is shown, in as many lines and columns as there are."""

from typing import Final

from rich.console import RenderableType
from rich.text import Text

from utxod.rendering import Harmless

from . import tables
from .head import Gone, findings_lines, surroundings, title
from .history import History
from .styles import QUIET, line

# Lines of the chart: those that a list leaves it where there is room, where there is no end of room, and at most.
_LEAST_ROWS, _USUAL_ROWS, _MOST_ROWS = 2, 4, 16
# Columns from which on there is room for everything of a pool in a line.
_WIDE: Final = 80


def frame(history: History, gone: Gone | None, clock: str, width: int, height: int | None) -> RenderableType:
    """height: lines there are; None: as many as are needed. clock: the time of day."""
    report, is_narrow = history.latest, width < _WIDE
    operations, workers = tables.operations(history), tables.workers(report, width)
    quantiles, more = ("p99", "") if is_narrow else ("p50, at p99", " about what is wrong")
    foot = [line(Text(f" q ends   times: at {quantiles}   more{more}: utxod doctor --live", QUIET))]
    codes = tables.codes(history)
    # Both lines of the head, the line of doubts, a line of findings, of the chart and of workers.
    fixed = 2 + len(codes) + 1 + 3 + 2 * (len(report["pools"]) + 1)
    spare = height - fixed - len(foot) if height is not None else 1000
    shown_findings = tables.cut(findings_lines(report, history.findings, gone), 1 + spare // 2)
    spare -= len(shown_findings) - 1
    shown_workers = tables.cut(workers, 1 + spare - (_LEAST_ROWS - 1))
    spare -= len(shown_workers) - 1
    if len(operations) + 1 > spare - 1:
        operations = []
    spare -= len(operations) + bool(operations)
    rows = _USUAL_ROWS if height is None else 1 + max(0, min(spare, _MOST_ROWS - 1))
    return Harmless(
        title(report, gone, clock, width),
        surroundings(report),
        *shown_findings,
        tables.pools(report, is_narrow),
        tables.works(history, operations, is_narrow),
        *tables.answered(history, width, rows),
        *codes,
        *shown_workers,
        tables.ever(report),
        *([] if height is None else foot),
    )
