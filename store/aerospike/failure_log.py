"""Says in the log that operations fail: one line in ten seconds for each kind of operation and result code, with how
many operations failed that way since the line before."""

import logging
import time
from collections.abc import Callable
from typing import Final

QUIET_SECONDS: Final = 10.0

log = logging.getLogger("utxod.store")


class _Counted:
    def __init__(self) -> None:
        self.operations = 0  # since the line before
        self.again_at = float("-inf")  # seconds, of the clock


class FailureLog:
    """clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted: dict[tuple[str, int], _Counted] = {}

    def failed(self, what: str, code: int, message: str, operations: int) -> None:
        """what: a rule's name, or read, write, remove. code: the result code. message: of one of the operations.
        operations: how many failed that way."""
        counted = self._counted.setdefault((what, code), _Counted())
        counted.operations += operations
        now = self._clock()
        if now < counted.again_at:
            return
        log.warning("%s: failed for %d since this was last said: %s", what, counted.operations, message)
        counted.operations = 0
        counted.again_at = now + QUIET_SECONDS
