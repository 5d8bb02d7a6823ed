"""A rolling restart: all workers are replaced, one after the other, without a failed item.

For each a new one is started first; once that is ready, the old one is retired. Where no new one can be had, the old
one stays.
"""

import logging
from collections import deque
from collections.abc import Callable

from .manager import WorkerManager
from .process import WorkerProcess

log = logging.getLogger("utxod.workers")


class RollingRestart:
    """is_ready: whether the worker of that identity can be given work. retire: has a worker end when what it holds is
    done. replacement: the one that is started for the next of those that are to be replaced; there is one more than
    there are to be meanwhile."""

    def __init__(
        self, manager: WorkerManager, is_ready: Callable[[bytes], bool], retire: Callable[[WorkerProcess], None]
    ) -> None:
        self._manager = manager
        self._is_ready = is_ready
        self._retire = retire
        self._to_replace: deque[bytes] = deque()
        self.replacement: bytes | None = None

    def begin(self) -> None:
        """Those that there are now are to be replaced."""
        self._to_replace.extend(self._manager.processes.keys() - set(self._to_replace))

    def go_on(self, now: float) -> None:
        """As far as it goes without waiting. now: seconds, monotonic."""
        if self.replacement is not None:
            if self.replacement in self._manager.processes and not self._is_ready(self.replacement):
                return
            self._finish(self.replacement)
        while self._to_replace and self.replacement is None:
            self._start_next(now)

    def _finish(self, new: bytes) -> None:
        """The replacement is ready, or it is gone."""
        self.replacement = None
        old = self._manager.processes.get(self._to_replace.popleft())
        if old is not None and self._is_ready(new):
            self._retire(old)
        elif old is not None and not old.leaving:
            log.error("%s worker %d could not be replaced: it stays", old.pool, old.pid, extra=old.fields)

    def _start_next(self, now: float) -> None:
        old = self._manager.processes.get(self._to_replace[0])
        if old is not None and not old.leaving:
            try:
                self.replacement = self._manager.start(old.pool, now).identity
                return
            except OSError as error:
                log.error(
                    "%s worker %d could not be replaced: %s; it stays", old.pool, old.pid, error, extra=old.fields
                )
        self._to_replace.popleft()
