"""Workers that have ended, and are not answered for yet: what they had sent before is read first.

A worker's connection stands until all that it had sent is read. So it is answered for when the connection is gone; or
when that has taken too long, because it hangs or because there never was one.
"""

import time
from collections.abc import Callable, Set
from typing import Final

from .process import WorkerProcess

_LAST_WORDS_SECONDS: Final = 0.05


class LastWords:
    """clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waited_for: dict[bytes, tuple[str, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._waited_for)

    @property
    def identities(self) -> Set[bytes]:
        """Whose last words are waited for."""
        return self._waited_for.keys()

    def wait_for(self, process: WorkerProcess, reason: str) -> None:
        """reason: why it has ended, in words."""
        self._waited_for[process.identity] = reason, self._clock() + _LAST_WORDS_SECONDS

    def take_silent(self, can_reach: Callable[[bytes], bool]) -> list[tuple[bytes, str]]:
        """Those that are waited for no longer, each once: identity, and why it has ended. can_reach: whether the
        connection of that identity still stands."""
        silent = [
            (identity, reason)
            for identity, (reason, until) in self._waited_for.items()
            if not can_reach(identity) or self._clock() >= until
        ]
        for identity, _ in silent:
            del self._waited_for[identity]
        return silent
