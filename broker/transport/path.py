"""A place with a file: locked (socket_lock.py), looked after, and with a fresh socket whenever newcomers are let in.

The next socket is made under a name of its own and renamed over the one before, with its owner and mode: so the path
leads somewhere at any moment, and the queue that was taken is closed. Where it can't be made (the directory is read
only, the disk is full), newcomers are let in from the present one, whose queue stays open.

A socket that another program has put at the path since is never touched. One that was swept away, with its lock or its
directory, is made anew.
"""

import hashlib
import logging
import os
import secrets
import socket
import stat
from contextlib import suppress
from pathlib import Path

from protocol.endpoint import IPC, MAX_IPC_PATH_BYTES

from .places import CLOSED_SECONDS, OPEN_SECONDS, QUEUE, PendingConnections
from .socket_lock import SocketLock

log = logging.getLogger("utxod.path")


class PathPlace:
    """address: ipc:///PATH. Raises SocketTaken where another daemon serves there, and OSError where the files can't be
    made, or where something is at the path that is no socket, or one at which another program listens."""

    survives_want = False

    def __init__(self, address: str) -> None:
        self.address = address
        self._path = Path(address.removeprefix(IPC))
        if self._path.is_dir():
            raise IsADirectoryError(f"{address}: is a directory; name a file in it")
        if os.path.lexists(self._path) and not stat.S_ISSOCK(self._path.lstat().st_mode):
            raise FileExistsError(f"{address}: there is a file that is no socket; move it, or serve at another address")
        # No other path's, and no other daemon's: two must not meet here.
        passing = "." + hashlib.sha256(os.fsencode(self._path.name)).hexdigest()[:8]
        self._next = self._path.with_name(f"{passing}-{secrets.token_hex(2)}")
        self._directory = self._path.parent.stat()
        self._made: os.stat_result | None = None
        self._no_next = ""  # why there was none last time
        self._socket_lock = SocketLock(self._path)
        try:
            _clear(self._path.parent, passing)
            if _is_alive(self._path):
                raise FileExistsError(f"{address}: another program listens here; end it, or serve at another address")
            self._socket: socket.socket | None = self._replace()
        except OSError as error:
            self._socket_lock.release()
            raise (error if error.errno is None else OSError(error.errno, f"{address}: {error.strerror}")) from None

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def take(self) -> PendingConnections:
        taken = self._socket
        if taken is None or not self._is_ours():
            raise FileNotFoundError("the socket is gone")
        try:
            self._socket = self._replace()
        except OSError as error:
            if str(error) != self._no_next:
                self._no_next = str(error)
                log.warning(
                    "%s: no next socket can be made like the present one (%s): newcomers come in while many descriptors"
                    " are left. Let the daemon's user write to the directory, and be of the socket's group",
                    self.address,
                    error,
                )
            return PendingConnections(taken, False, OPEN_SECONDS)
        self._no_next = ""
        return PendingConnections(taken, True, CLOSED_SECONDS)

    def renew(self) -> None:
        if self._is_ours() and self._socket_lock.is_seen():
            return
        if os.path.lexists(self._path) and not self._is_ours():
            self._close()  # who waits is told so, and comes again: to whom the path leads
            raise FileExistsError("something else is there now; newcomers do not reach this daemon")
        self._renew_directory()
        if not self._socket_lock.is_seen():
            lock = SocketLock(self._path)
            self._socket_lock.release()
            self._socket_lock = lock
        if not self._is_ours():
            fresh = self._replace()
            self._close()
            self._socket = fresh
        log.warning("%s was gone, and is there again", self.address)

    def release(self) -> None:
        try:
            if self._is_ours():
                self._path.unlink(missing_ok=True)
        finally:
            self._close()
            self._socket_lock.release()

    def _replace(self) -> socket.socket:
        """A fresh socket at the path."""
        before = self._path.lstat() if self._is_ours() else self._made
        made: os.stat_result | None = None
        fresh = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind(fresh, self._next)
            made = self._next.lstat()
            if before is not None:
                _carry_over(before, made, self._next)
            fresh.listen(QUEUE)
            fresh.setblocking(False)
            self._next.rename(self._path)
        except BaseException:
            fresh.close()
            if made is not None:
                self._next.unlink(missing_ok=True)
            raise
        self._made = made
        return fresh

    def _is_ours(self) -> bool:
        # Its number can't be another's meanwhile: the socket that is bound to it keeps it.
        with suppress(OSError):
            return self._made is not None and os.path.samestat(self._made, self._path.lstat())
        return False

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _renew_directory(self) -> None:
        """Whoever owns it can take our place: a new one must be ours, or its owner's of before."""
        directory = self._path.parent
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
            os.chmod(directory, stat.S_IMODE(self._directory.st_mode))
            with suppress(OSError):
                os.chown(directory, -1, self._directory.st_gid)
        found = directory.lstat()
        if os.path.samestat(found, self._directory):
            return
        if found.st_uid not in (os.getuid(), self._directory.st_uid):
            raise PermissionError(f"{directory} is another user's now")
        self._directory = found


def _clear(directory: Path, passing: str) -> None:
    """What a daemon left that was killed between making a socket and giving it its place."""
    for left in directory.glob(f"{passing}-*"):
        with suppress(OSError):
            if left.is_socket():
                left.unlink()


def _bind(fresh: socket.socket, path: Path) -> None:
    if len(os.fsencode(path)) <= MAX_IPC_PATH_BYTES:
        fresh.bind(str(path))
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        fresh.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def _carry_over(before: os.stat_result, made: os.stat_result, path: Path) -> None:
    """Owner and mode, as an administrator has set them."""
    if (before.st_uid, before.st_gid) != (made.st_uid, made.st_gid):
        os.chown(path, before.st_uid, before.st_gid)
    if before.st_mode != made.st_mode:
        os.chmod(path, stat.S_IMODE(before.st_mode))


def _is_alive(path: Path) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # more wait than its queue takes
            return True
        except OSError:
            return False
        return True
