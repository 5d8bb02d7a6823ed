"""What is wrong with a daemon that runs, by two of its reports some seconds apart: what is seen, why, what to do."""

from collections.abc import Iterable

from utxod.interval import Interval, Report

from .findings import DOWN, FOLLOWS, WELL, Finding
from .of_a_pool import OF_A_POOL
from .of_the_daemon import OF_THE_DAEMON

__all__ = ["DOWN", "WELL", "Finding", "diagnose"]


def diagnose(before: Report, after: Report) -> list[Finding]:
    """The findings, causes first. Of the same daemon; where it was started anew in between, by what is since then."""
    interval = Interval(before, after)
    found = [finding for check in OF_THE_DAEMON for finding in check(interval)]
    for pool in after["pools"]:
        found += [finding for check in OF_A_POOL for finding in check(interval, pool)]
    order = list(FOLLOWS)
    linked = [finding._replace(because=_cause_of(finding, found)) for finding in found]
    return sorted(linked, key=lambda finding: (bool(finding.because), order.index(finding.name)))


def _cause_of(finding: Finding, found: Iterable[Finding]) -> str:
    """The first that it may follow from, in the same pool or where either is the whole daemon's."""
    near = {other.name for other in found if "" in (other.pool, finding.pool) or other.pool == finding.pool}
    return next((name for name in FOLLOWS[finding.name] if name in near), "")
