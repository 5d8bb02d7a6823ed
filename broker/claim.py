"""A claim on an ipc address: held by one daemon at a time, and for no longer than it lives.

ZeroMQ removes whatever it finds at the path of an ipc address and takes its place: a second daemon would steal the
first one's submitters, silently, and a file that is no socket would be lost. So the path must be free or a socket's,
and a lock is held on the file `<path>.lock`. The kernel frees the lock of a process that dies; the files that it leaves
are no obstacle. A symbolic link in place of the lock, as somebody else could lay it in /tmp, is not followed.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import Final

IPC: Final = "ipc://"


class Claimed(OSError):
    """Another process serves at the address; the message names both."""


class Claim:
    """address: ipc://PATH. Raises Claimed, and OSError where the lock's file can't be made, or where something is at
    the path that is no socket."""

    def __init__(self, address: str) -> None:
        self._socket = Path(address.removeprefix(IPC))
        self._lock = self._socket.with_name(self._socket.name + ".lock")
        if os.path.lexists(self._socket) and not stat.S_ISSOCK(self._socket.lstat().st_mode):
            raise FileExistsError(f"{address}: there is a file that is no socket; move it, or serve at another address")
        self._descriptor = self._acquire(address)
        os.truncate(self._descriptor, 0)
        os.write(self._descriptor, b"%d\n" % os.getpid())

    def release(self) -> None:
        """Removes the socket, which ZeroMQ leaves behind, and gives the address free."""
        self._socket.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _acquire(self, address: str) -> int:
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
                raise Claimed(f"{address}: another daemon serves here (process {holder or 'unknown'})") from None
            os.close(descriptor)


def claim(address: str) -> Claim | None:
    """The claim on an address, None where it needs none: the kernel itself refuses a second one for tcp, and for the
    abstract sockets of ipc://@NAME. Raises as Claim does."""
    is_path = address.startswith(IPC) and not address.startswith((f"{IPC}@", f"{IPC}*"))
    return Claim(address) if is_path else None
