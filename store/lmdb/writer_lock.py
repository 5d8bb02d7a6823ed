"""The writers' lock of an embedded store: waiting for it has a limit, and its holder is known.

LMDB's own lock blocks without limit, and does not say which process holds it. Every writer takes this one first. So a
writer that was stopped inside a write transaction is known by its process id, and it alone can be terminated. The
kernel frees the lock of a process that dies. Nobody gets the lock of a file that is no longer at its path, since who
comes later has another one: where there is still a directory, it is made anew.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from store.interface import StoreError

from .in_place import check_in_place, is_in_place, look

_SHORTEST_PAUSE: Final = 0.0002  # seconds
_LONGEST_PAUSE: Final = 0.005
_LINE_BYTES: Final = 40


class WriterLockTimeout(StoreError):
    """The lock was not free within the budget; nothing was written. holder: the process id that holds it, 0 where it
    is not known."""

    def __init__(self, holder: int, since: float, waited: float) -> None:
        held = max(0.0, time.time() - since)
        who = f"process {holder}, for {held:.3f} s now" if holder else "a process that has not named itself yet"
        super().__init__(f"the writers' lock is held by {who}; waited {waited:.3f} s for it", in_doubt=False)
        self.holder = holder


class WriterLock:
    """A lock on the file `path`, for one process (and one thread in it) at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()

    @contextmanager
    def held(self, budget: float) -> Iterator[None]:
        """Hold the lock. budget: seconds to wait for it at most. Raises WriterLockTimeout, and StoreError where the
        directory was moved or removed, the file cannot be locked, or the holder's id not be written to it."""
        try:
            self._acquire(budget)
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def holder(self) -> tuple[int, float]:
        """(process id, unix time since when) of the process that took it last; (0, 0.0) where none did."""
        try:
            pid, since = os.pread(self._file, _LINE_BYTES, 0).split()
            return int(pid), float(since)
        except ValueError:
            return 0, 0.0

    def close(self) -> None:
        os.close(self._file)

    def _open(self) -> int:
        # A process that can open it, even only to read, can take the lock, and so stop every writer.
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _acquire(self, budget: float) -> None:
        until = time.monotonic() + budget
        try:
            self._wait(budget)
            if not is_in_place(self._path, os.fstat(self._file)) and look(self._path.parent) is not None:
                fresh = self._open()
                os.close(self._file)
                self._file = fresh
                self._wait(max(0.0, until - time.monotonic()))
            check_in_place(self._path, os.fstat(self._file))
            os.pwrite(self._file, (b"%d %.3f" % (os.getpid(), time.time())).ljust(_LINE_BYTES), 0)
        except OSError as error:
            raise StoreError(f"{self._path}: {error}", in_doubt=False) from error

    def _wait(self, budget: float) -> None:
        if not self._try():
            self._poll(budget)

    def _poll(self, budget: float) -> None:
        start = time.monotonic()
        pause = _SHORTEST_PAUSE
        while True:
            left = start + budget - time.monotonic()
            if left <= 0:
                raise WriterLockTimeout(*self.holder(), waited=budget)
            time.sleep(min(pause, left))
            if self._try():
                return
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
