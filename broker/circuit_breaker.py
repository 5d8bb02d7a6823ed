"""A circuit breaker: keeps dispatches away from a store that does not answer, and finds out when it does again.

Closed, it allows everything. Tripped, it is open: it allows nothing for a pause, and then one dispatch at a time, a
probe, until a probe succeeds. After one that fails it pauses again. A dispatch that began before the breaker opened is
no probe: its success tells of the store as it was. Times are microseconds.
"""

from collections.abc import Iterable


class CircuitBreaker:
    """pause: before a probe. tripped_at: when it opened; None while it is closed. probe_at: the earliest time of the
    next probe. trips: how often it has opened."""

    def __init__(self, pause: int, now: int) -> None:
        self.tripped_at: int | None = None
        self.probe_at = 0
        self.trips = 0
        self.pause = pause
        self._turned_at = now

    @property
    def is_open(self) -> bool:
        return self.tripped_at is not None

    def trip(self, now: int) -> None:
        """A dispatch wedged, had no answer from its store, or was lost as a probe."""
        if self.tripped_at is None:
            self.tripped_at = self._turned_at = now
            self.trips += 1
        self.probe_at = now + self.pause

    def allow(self, now: int, starts: Iterable[int]) -> bool:
        """Whether a dispatch may begin. starts: when each of those that are under way began."""
        tripped_at = self.tripped_at
        return tripped_at is None or (now >= self.probe_at and all(start < tripped_at for start in starts))

    def record_success(self, start: int, now: int) -> None:
        """A dispatch that began at `start` ended well."""
        if self.tripped_at is not None and start >= self.tripped_at:
            self.tripped_at = None
            self._turned_at = now

    def is_current(self, start: int) -> bool:
        """Whether a dispatch that began at `start` tells of the store as it is: the breaker has not turned since."""
        return start >= self._turned_at
