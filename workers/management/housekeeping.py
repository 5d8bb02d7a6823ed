"""Chores on which no answer depends: what goes wrong in one is tried again, and logged now and then, and ends nothing
else."""

import logging
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger("utxod")

_LOG_SECONDS: Final = 10.0


class Housekeeping:
    """Does chores, and logs a failure every ten seconds at most."""

    def __init__(self) -> None:
        self._logged_at = -_LOG_SECONDS

    def do(self, *chores: Callable[[], None]) -> None:
        """Each, whatever becomes of the others."""
        for chore in chores:
            try:
                chore()
            except Exception:
                now = time.monotonic()
                if now - self._logged_at >= _LOG_SECONDS:
                    self._logged_at = now
                    log.exception("a defect in the housekeeping; the daemon serves on")
