"""The reports of the last seconds, and what they come to."""

from collections import deque
from typing import Final

from utxod.diagnosis import Finding, diagnose
from utxod.interval import Interval, Report

# Latencies, batches and answers are those of so many seconds: enough of them for a quantile, few enough for now.
WINDOW_SECONDS: Final = 10.0
# What `utxod doctor --live` takes too, and two of its intervals where a frame comes rarely.
FINDING_SECONDS: Final = 3.0
# As wide as a terminal may be.
POINTS: Final = 512


class History:
    """latest: the last report. rates: items a second that were answered, a point for each report, the newest last;
    0.0 where there was no answer. findings: what is wrong now; None before there are two reports."""

    def __init__(self, first: Report) -> None:
        self.latest = first
        self.rates: deque[float] = deque(maxlen=POINTS)
        self.findings: list[Finding] | None = None
        self._reports: deque[Report] = deque([first])

    def add(self, report: Report) -> None:
        """One of another start of the daemon begins anew: nothing is compared with what was before."""
        if report["epoch"] != self.latest["epoch"]:
            self._reports.clear()
        self._reports.append(report)
        self.latest = report
        while len(self._reports) > 2 and self._age(self._reports[1]) >= WINDOW_SECONDS:
            self._reports.popleft()
        self.rates.append(rate_of_answers(self.now))
        self.findings = diagnose(self._since(FINDING_SECONDS), report)

    def miss(self) -> None:
        """There was no answer."""
        self.rates.append(0.0)

    @property
    def now(self) -> Interval:
        """Between the last two reports; since the start, where there is but one."""
        return self._interval(self._reports[-2] if len(self._reports) > 1 else None)

    @property
    def window(self) -> Interval:
        """The last seconds; since the start, where there is but one report."""
        return self._interval(self._reports[0] if len(self._reports) > 1 else None)

    def _interval(self, before: Report | None) -> Interval:
        return Interval(before, self.latest) if before else Interval.since_start(self.latest)

    def _since(self, seconds: float) -> Report:
        """The newest report that is so old; the oldest, where none is."""
        return next((report for report in reversed(self._reports) if self._age(report) >= seconds), self._reports[0])

    def _age(self, report: Report) -> float:
        return float(self.latest["uptime_seconds"] - report["uptime_seconds"])


def rate_of_answers(interval: Interval, **labels: str) -> float:
    """Items a second."""
    return interval.rate(interval.count("answers", "items", **labels))
