"""Workers that have ended, and are not answered for yet: what they had sent before is read first.

A worker's connection stands until all that it had sent is read. So it is answered for when the connection is gone; or
when that has taken too long, because it hangs or because there never was one.
"""

import time
from collections.abc import Callable, Set
from typing import Final

from .process import WorkerProcess

_DRAIN_SECONDS: Final = 0.05


class DyingWorkers:
    """clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._dying: dict[bytes, tuple[str, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._dying)

    @property
    def identities(self) -> Set[bytes]:
        """Those that are not answered for yet."""
        return self._dying.keys()

    def add(self, process: WorkerProcess, reason: str) -> None:
        """A worker that has ended. reason: why, in words."""
        self._dying[process.identity] = reason, self._clock() + _DRAIN_SECONDS

    def take_drained(self, can_reach: Callable[[bytes], bool]) -> list[tuple[bytes, str]]:
        """Those of which nothing more is to be read, each once: identity, and why it has ended. can_reach: whether the
        connection of that identity still stands."""
        drained = [
            (identity, reason)
            for identity, (reason, until) in self._dying.items()
            if not can_reach(identity) or self._clock() >= until
        ]
        for identity, _ in drained:
            del self._dying[identity]
        return drained
