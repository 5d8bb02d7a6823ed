"""The lock of an ipc address: held by one daemon at a time, and for no longer than it lives.

A daemon that takes another's place at an ipc address steals its submitters, silently. So a lock is held on the file
`<path>.lock`. The kernel frees the lock of a process that dies; the files that it leaves are no obstacle. A symbolic
link in place of the lock, as somebody else could lay it in /tmp, is not followed. Where the file was swept away, the
lock is no longer seen by others, and has to be taken again.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class SocketTaken(OSError):
    """Another process serves at the address; the message names both."""


class SocketLock:
    """path: of the address's socket. Raises SocketTaken, and OSError where the lock's file can't be made."""

    def __init__(self, path: Path) -> None:
        self._lock = path.with_name(path.name + ".lock")
        self._descriptor = self._acquire(path)
        with suppress(OSError):  # on a full disk, say: it is for people only
            os.truncate(self._descriptor, 0)
            os.write(self._descriptor, b"%d\n" % os.getpid())

    def is_seen(self) -> bool:
        """Whether the file is still there for others to see."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._descriptor), self._lock.lstat())
        return False

    def release(self) -> None:
        """Gives the address free. Another's file is left alone. Raises OSError where ours can't be removed."""
        try:
            if self.is_seen():
                self._lock.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)

    def _acquire(self, path: Path) -> int:
        while True:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its holder may have removed the file between the two: then this is a lock on nothing.
                if os.path.samestat(os.fstat(descriptor), self._lock.lstat()):
                    return descriptor
            except FileNotFoundError:
                pass
            except BlockingIOError:
                holder = os.read(descriptor, 20).decode(errors="replace").strip()
                os.close(descriptor)
                raise SocketTaken(f"ipc://{path}: another daemon serves here (process {holder or 'unknown'})") from None
            os.close(descriptor)
