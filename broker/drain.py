"""The end of the daemon's service: requests are refused, and what is pending is finished, within a time."""

import logging

from .core import Core
from .service_manager import ServiceManager

log = logging.getLogger("utxod")


class Drain:
    """Of one daemon; not begun yet. Times are seconds, monotonic. unfinished: what was pending when the time was over,
    known at the end."""

    def __init__(self, core: Core, service_manager: ServiceManager) -> None:
        self._core = core
        self._service_manager = service_manager
        self._until: float | None = None
        self.unfinished = 0

    @property
    def is_begun(self) -> bool:
        return self._until is not None

    def begin(self, why: str, seconds: float, now: float) -> None:
        """Where it is under way already that is said, and nothing else."""
        if self._until is not None:
            log.info("%s: draining already", why)
        else:
            what = f"draining {self._core.pending} pending requests, within {seconds:g} s"
            log.info("%s: %s", why, what)
            self._service_manager.stopping(what, seconds)
            self._core.drain()
            self._until = now + seconds

    def cut_short(self, why: str, now: float) -> None:
        """The time is over now."""
        log.info("%s again: ending now", why)
        self._until = now

    def seconds_left(self, now: float) -> float:
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def is_over(self, now: float) -> bool:
        """Whether nothing is pending any more, or the time is over."""
        if self._until is None:
            return False
        self.unfinished = self._core.pending
        return self.unfinished == 0 or now >= self._until
