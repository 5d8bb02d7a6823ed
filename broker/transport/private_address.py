"""The workers' private address: a socket in a directory of the temporary one that is its owner's alone.

What daemons have left that were killed, and could not remove it themselves, goes with the next one; nobody else's.
"""

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from protocol.endpoint import IPC

from .socket_lock import SocketLock

_PREFIX: Final = "utxod-workers-"
_SOCKET: Final = "workers.sock"


class PrivateAddress:
    """Raises OSError where there is no temporary directory that can be written to."""

    def __init__(self) -> None:
        _clear_leftovers()
        self._directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.address = f"{IPC}{self._directory / _SOCKET}"

    def release(self) -> None:
        """Removes the directory, and what is in it."""
        shutil.rmtree(self._directory, ignore_errors=True)


def _clear_leftovers() -> None:
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_SOCKET}.lock"):
        with suppress(OSError):
            found = lock.parent.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                SocketLock(lock.with_name(_SOCKET)).release()
                shutil.rmtree(lock.parent)
