"""The first lines of a frame: which daemon it is, whether it serves, and what is wrong with it."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import zip_longest
from typing import NamedTuple

from rich.text import Text

from utxod.diagnosis import DOWN, Finding
from utxod.figures.shown import without_options
from utxod.interval import Report
from utxod.spans import span

from .marks import short
from .styles import BAD, GOOD, QUIET, WARN, line


class Gone(NamedTuple):
    """The daemon does not answer. seconds: for how long. why: the last error."""

    seconds: float
    why: str


def title(report: Report, gone: Gone | None, clock: str, width: int) -> Text:
    """clock: the time of day."""
    if gone:
        state, style = f" no answer for {span(gone.seconds)} ", "bold white on red"
    elif report["draining"]:
        state, style = " draining ", "bold black on yellow"
    elif all(pool["workers"] for pool in report["pools"].values()):
        state, style = " serving ", "bold black on green"
    else:
        state, style = " not ready ", "bold black on yellow"
    uptime = timedelta(seconds=int(report["uptime_seconds"]))
    text = Text.assemble(
        (f" utxod {report['version']} ", "bold reverse"),
        (state, style),
        f"  up {uptime}",
        (f"  pid {report['pid']}  {without_options(report['store'])}", QUIET),
    )
    text.truncate(width - len(clock) - 1, overflow="ellipsis", pad=True)
    return line(text.append(f" {clock}", QUIET))


def surroundings(report: Report) -> Text:
    """Who asks, and what of its host it uses."""
    descriptors, dropped = report["descriptors"], sum(report["log_lines_dropped"].values())
    text = Text(" ")
    for count, what in (
        (f"{report['submitters']:,}", "submitter" if report["submitters"] == 1 else "submitters"),
        (f"{report['pending']:,}", "pending"),
        (f"{report['owed']:,}", "owed"),
        (f"{descriptors['open']:,}", f"of {short(descriptors['limit'])} descriptors"),
    ):
        text.append(count, "bold").append(f" {what}  ", QUIET)
    lines = "line" if dropped == 1 else "lines"
    text.append(f"{dropped:,}", WARN if dropped else "bold").append(f" {lines} of log lost", QUIET)
    return line(text)


def findings_lines(report: Report, findings: Sequence[Finding] | None, gone: Gone | None) -> list[Text]:
    """Causes with their remedies, then what follows from them. findings: None where nothing is known yet."""
    if gone:
        return [line(Text.assemble((f" ✗ {DOWN} ", BAD), f"{gone.why}; asking on"))]
    if findings is None:
        return [line(Text(" … looking", QUIET))]
    if not findings and (bereft := [name for name, pool in report["pools"].items() if not pool["workers"]]):
        return [line(Text(f" … no worker just now: {', '.join(bereft)}", WARN))]
    if not findings:
        return [line(Text(" ✓ all is well", GOOD))]
    lines = []
    for finding, later in zip_longest(findings, findings[1:]):
        if finding.because:
            lines.append(Text(f"   ↳ {finding.name}: {finding.seen}", WARN))
        else:
            lines.append(Text.assemble((f" ✗ {finding.name} ", BAD), f"{finding.cause}: {finding.seen}"))
            if later is None or later.remedy != finding.remedy:
                lines.append(Text(f"   → {finding.remedy}"))
    return [line(text) for text in lines]
