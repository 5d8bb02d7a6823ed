"""Says in the log that the store refuses or fails what it is asked: one line for each kind of call and result code in
ten seconds, however many calls there are, with how many they were."""

import logging
import time
from collections.abc import Callable
from typing import Final

QUIET_SECONDS: Final = 10.0

log = logging.getLogger("utxod.store")


class _Counted:
    def __init__(self) -> None:
        self.records = 0  # since the line before
        self.again_at = float("-inf")  # seconds, of the clock


class FailureLog:
    """clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted: dict[tuple[str, int], _Counted] = {}

    def failed(self, what: str, code: int, message: str, records: int) -> None:
        """what: a rule's name, or read, write, remove. code: the result code. message: of one of the records."""
        counted = self._counted.setdefault((what, code), _Counted())
        counted.records += records
        now = self._clock()
        if now < counted.again_at:
            return
        log.warning("%s: failed for %d since this was last said: %s", what, counted.records, message)
        counted.records = 0
        counted.again_at = now + QUIET_SECONDS
