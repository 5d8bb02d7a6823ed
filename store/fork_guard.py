"""A store works in the process that opened it, and in no other: neither LMDB nor a client with threads survives a
fork."""

import os

from .interface import StoreError


class ForkGuard:
    """Made when the store is opened; remembers in which process that was."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_same_process(self) -> bool:
        """Whether this is the process that opened the store."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Raises StoreError in another process."""
        if not self.is_same_process:
            message = "the store was opened before a fork: open it again in this process"
            raise StoreError(message, in_doubt=False)
