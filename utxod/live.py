"""`utxod doctor --live`: asks a daemon that runs twice, and says what is wrong with it, by what happened in between."""

import json
import time
from itertools import groupby
from typing import Any, NoReturn

import click
from rich.console import RenderableType

from protocol import Client

from .diagnosis import DOWN, WELL, Finding, diagnose
from .exits import NO_DAEMON, WRONG
from .inquiry import ask, give_up
from .interval import Report
from .rendering import findings_table, render

_HOW_TO_FIND_OUT = (
    "is its process there (systemctl status utxod, pgrep -af 'utxod serve'), and what does its log say last "
    f"(journalctl -u utxod -n 50)? See docs/operations/{DOWN}.md"
)


def examine_live(endpoint: str, timeout: float, seconds: float, as_json: bool) -> NoReturn:
    """Shows what is found, and ends the process: with 0 where all is well, 4 where no daemon answers, 1 else.

    timeout: seconds, of each question. seconds: between the two.
    """

    def question(client: Client) -> tuple[Report, Report]:
        before = client.status()
        time.sleep(seconds)
        return before, client.status()

    try:
        before, after = ask(endpoint, timeout, as_json, question)
    except SystemExit as end:
        if end.code == NO_DAEMON:
            click.echo(f"{DOWN}: {_HOW_TO_FIND_OUT}", err=True)
        raise
    need_figures(after, as_json)
    findings = diagnose(before, after)
    if as_json:
        click.echo(json.dumps(_as_json(findings)))
    else:
        render(live_table(findings))
    raise SystemExit(WRONG if findings else 0)


def need_figures(report: Report, as_json: bool) -> None:
    """Ends the process where the daemon is of a version that keeps none."""
    if lacking := lack_of_figures(report):
        give_up(lacking, as_json, WRONG)


def lack_of_figures(report: Report) -> str:
    """What to do where the daemon is of a version that keeps none; empty where it does."""
    if "figures" in report:
        return ""
    return f"that daemon keeps no figures: its version is {report.get('version')}; restart it with this one"


def live_table(findings: list[Finding]) -> RenderableType:
    """What is wrong, causes first, then what is well. What several pools have in common is said once."""
    found = {finding.name for finding in findings}
    rows = [
        (name, f"{'; '.join(finding.seen for finding in alike)}: {cause}", remedy)
        for (name, cause, remedy), alike in groupby(findings, lambda each: (each.name, each.cause, _remedy(each)))
    ]
    return findings_table(rows + [(name, text, "") for name, text in WELL.items() if name not in found])


def _remedy(finding: Finding) -> str:
    if finding.because:
        return f"follows from {finding.because}: mend that first ({finding.page})"
    return f"{finding.remedy} ({finding.page})"


def _as_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """As the other doctor's, with more keys; what is well has an empty remedy."""
    found = {finding.name for finding in findings}
    wrong = [
        {"what": finding.name, "found": finding.seen, "remedy": finding.remedy, "cause": finding.cause}
        | {"pool": finding.pool, "because": finding.because, "page": finding.page}
        for finding in findings
    ]
    return wrong + [{"what": name, "found": text, "remedy": ""} for name, text in WELL.items() if name not in found]
