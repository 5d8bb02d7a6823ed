"""When the next sweep is due; and whether this process has stood still meanwhile.

A sweep that comes far too late says that the process was stopped, or starved. By that time nobody is judged: what has
come in meanwhile is read first, and the next sweep is one as always.
"""

import logging
from typing import Any, Final

from .figures.histogram import TIMES_US, Histogram
from .settings import MICROSECONDS

log = logging.getLogger("utxod")

_STOOD_STILL_SECONDS: Final = 0.5


class SweepTimer:
    """interval: between two sweeps. next_sweep: when the next one is due. has_stood_still: one was left out, and none
    was made since. longest_standstill: how late one has been at most. sweeps: how many were made. lateness: of each
    that was due, also of those left out; microseconds. Times are seconds, monotonic."""

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self.next_sweep = now
        self.has_stood_still = False
        self.longest_standstill = 0.0
        self.sweeps = 0
        self.lateness = Histogram(TIMES_US)

    def is_due(self, now: float) -> bool:
        """Whether a sweep is to be made now; asking at that time starts the next interval. After a standstill one sweep
        is left out."""
        if now < self.next_sweep:
            return False
        late, self.next_sweep = now - self.next_sweep, now + self._interval
        self.longest_standstill = max(late, self.longest_standstill)
        self.lateness.add(int(late * MICROSECONDS))
        self.has_stood_still = late > _STOOD_STILL_SECONDS and not self.has_stood_still
        if self.has_stood_still:
            log.warning("stood still for %.1f s: what has come in meanwhile is read first", late)
        self.sweeps += not self.has_stood_still
        return not self.has_stood_still

    def hasten(self, now: float) -> None:
        """There is something to be done: the next sweep is due now."""
        self.next_sweep = min(self.next_sweep, now)

    def figures(self) -> dict[str, Any]:
        """The report's, of the sweeps."""
        return {"sweeps": self.sweeps, "sweep_lateness_seconds": self.lateness.as_seconds()}
