"""Backoff for the workers of one pool, or a companion: where one after the other fails early, the next one's start
waits, each time longer."""

import logging
from typing import Final

log = logging.getLogger("utxod.workers")

# A process that has run for longer is sound; one that ends earlier, or can't be started, is a failure.
_EARLY_SECONDS: Final = 5.0
_FIRST_DELAY_SECONDS: Final = 0.1
_LONGEST_DELAY_SECONDS: Final = 10.0
# Where it can't even be started the next try costs hardly anything.
_LONGEST_TRY_SECONDS: Final = 1.0
# So many failures in a row, which take 4 s and more, are no longer taken for a moment's.
_MANY_FAILURES: Final = 8


class CrashLoop:
    """name: of what is started, for people. Times are seconds, monotonic."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = 0  # in a row
        self._last_failure = 0.0
        self._not_before = 0.0

    @property
    def has_lasted(self) -> bool:
        """Whether nothing but failures has come of many starts in a row."""
        return self._failures >= _MANY_FAILURES

    def allows_start(self, now: float) -> bool:
        """Whether the pause after the last failure is over."""
        return now >= self._not_before

    def start_failed(self, now: float) -> None:
        """None could be started at all: the next try waits, a second at most."""
        self._back_off(now, _LONGEST_TRY_SECONDS)

    def exited(self, started: float, now: float) -> None:
        """started: when the one that is gone now was started."""
        # One of the same generation as the last that failed tells nothing more: they were killed together.
        if now - started <= _EARLY_SECONDS and started >= self._last_failure:
            self._back_off(now, _LONGEST_DELAY_SECONDS)

    def runs(self, started: float, now: float) -> None:
        """One that was started after the last failure, and has run for long enough, ends the row. started: of the
        newest that runs now."""
        if self._last_failure < started < now - _EARLY_SECONDS:
            self._failures = 0

    def _back_off(self, now: float, longest: float) -> None:
        """One more has failed: the next one waits, where it is not the first."""
        self._last_failure = now
        self._failures += 1
        if self._failures > 1:
            delay = min(_FIRST_DELAY_SECONDS * 2.0 ** min(self._failures - 2, _MANY_FAILURES), longest)
            self._not_before = now + delay
            why = "died young or could not be started"
            log.warning("the next %s starts in %.1f s: %d in a row %s", self._name, delay, self._failures, why)
