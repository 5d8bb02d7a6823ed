"""Where newcomers wait: the listening sockets of an address, made and kept by us, so that ZeroMQ never binds by itself.

    ipc:///PATH       a socket's file; claimed (claim.py), looked after, and replaced by a fresh one for every batch
    ipc://@NAME       a name in the kernel's table; it has no file
    tcp://HOST:PORT   HOST: a name, an IPv4 address, an IPv6 one in brackets, an interface, or * for all of them;
                      PORT 0 or *: any that is free

What is let in is let in by the batch: `take` gives the socket in whose queue the newcomers wait. That of a path is
closed to others from then on, because the file already leads to the next one: so nobody can be more than the queue can
hold. For the others the kernel has no such way.
"""

import contextlib
import errno
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Final, Protocol

import psutil

from .claim import Claim

log = logging.getLogger("utxod.places")

IPC: Final = "ipc://"
TCP: Final = "tcp://"
# Newcomers that may wait in the queue of a path; the kernel takes one more.
_BATCH: Final = 16
# Newcomers that one opening of a door lets in, where the place can bound them.
BATCH_AT_MOST: Final = _BATCH + 1
_BACKLOG: Final = 128
_WILDCARD: Final = "*"
# A host's address that this machine does not have, or a family: no obstacle beside one that it has.
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Place(Protocol):
    """address: as it is told to people and to ZeroMQ. is_bounded: whether what `take` gives is closed to others.
    survives_want: whether libzmq only looks again later where it has no descriptor to accept there."""

    address: str
    is_bounded: bool
    survives_want: bool

    def fileno(self) -> int:
        """The descriptor that can be read while somebody waits. It changes with `take` and `renew`."""
        ...

    def take(self) -> socket.socket:
        """The socket in whose queue those wait that come next. Raises OSError where it can't be had now."""
        ...

    def renew(self) -> None:
        """Puts right what others have taken away. Raises OSError where it can't."""
        ...

    def release(self) -> None: ...


def places(address: str) -> list[Place]:
    """Listens at an address: one place, or one for each of a host's addresses.

    Raises OSError, Claimed too, with the address in its message.
    """
    if address.startswith(f"{IPC}@"):
        return [_NamePlace(address)]
    if address.startswith(IPC):
        return [PathPlace(address)]
    if address.startswith(TCP):
        return _tcp_places(address)
    raise OSError(f"{address}: wanted ipc:///PATH, ipc://@NAME or tcp://HOST:PORT")


class PathPlace:
    """address: ipc:///PATH. Raises Claimed where another daemon serves there, and OSError where the files can't be
    made, or where something is at the path that is no socket."""

    is_bounded = True
    survives_want = False

    def __init__(self, address: str) -> None:
        self.address = address
        self._path = Path(address.removeprefix(IPC))
        if self._path.is_dir():
            raise IsADirectoryError(f"{address}: is a directory; name a file in it")
        self._next = self._path.with_name(self._path.name[:-1] + "~")  # no longer than the path: sun_path is short
        self._is_usurped = False
        if os.path.lexists(self._path) and not stat.S_ISSOCK(self._path.lstat().st_mode):
            raise FileExistsError(f"{address}: there is a file that is no socket; move it, or serve at another address")
        self._claim = Claim(self._path)
        try:
            self._replace()
        except OSError as error:
            self._claim.release()
            raise OSError(error.errno, f"{address}: {error.strerror or error}") from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def take(self) -> socket.socket:
        taken = self._socket
        if not self._is_ours():
            raise FileNotFoundError(f"{self.address}: the socket is gone")
        self._replace()
        return taken

    def renew(self) -> None:
        """Makes the socket, its lock and their directory anew where they are gone. What another program has put there
        since is left alone."""
        if self._is_ours() and self._claim.is_seen():
            return
        if os.path.lexists(self._path) and not self._is_ours():
            if not self._is_usurped:
                log.error("%s: something else is there now; newcomers do not reach this daemon", self.address)
            self._is_usurped = True
            return
        self._make_directory()
        if not self._claim.is_seen():
            claim = Claim(self._path)
            self._claim.release()
            self._claim = claim
        if not self._is_ours():
            waiting = self._socket
            self._replace()
            waiting.close()
        self._is_usurped = False
        log.warning("%s was gone, and is there again", self.address)

    def release(self) -> None:
        if self._is_ours():
            self._path.unlink(missing_ok=True)
        self._socket.close()
        self._claim.release()

    def _replace(self) -> None:
        fresh = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._next.is_socket():
                self._next.unlink(missing_ok=True)
            fresh.bind(str(self._next))
            made = self._next.lstat()
            fresh.listen(_BATCH)
            fresh.setblocking(False)
            self._next.rename(self._path)
        except BaseException:
            fresh.close()
            raise
        self._socket, self._made = fresh, made

    def _is_ours(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(self._made, self._path.lstat())
        return False

    def _make_directory(self) -> None:
        """Whoever can write there can take our place: one that was made meanwhile must be ours, or root's."""
        directory = self._path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.lstat().st_uid not in (os.getuid(), 0):
            raise PermissionError(f"{directory}: is another user's now")


class _FixedPlace:
    """A listening socket that stays the same."""

    is_bounded = False

    def __init__(self, address: str, listening: socket.socket) -> None:
        self.address = address
        self.survives_want = address.startswith(TCP)
        self._socket = listening
        listening.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def take(self) -> socket.socket:
        return self._socket

    def renew(self) -> None:
        """Nobody can take it away."""

    def release(self) -> None:
        self._socket.close()


class _NamePlace(_FixedPlace):
    def __init__(self, address: str) -> None:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind("\0" + address.removeprefix(f"{IPC}@"))
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            raise OSError(error.errno, f"{address}: {error.strerror or error}") from None
        super().__init__(address, listening)


def _tcp_places(address: str) -> list[Place]:
    host, colon, port_text = address.removeprefix(TCP).rpartition(":")
    if not colon or not host or not (port_text.isdecimal() or port_text == _WILDCARD):
        raise OSError(f"{address}: wanted tcp://HOST:PORT")
    port = 0 if port_text == _WILDCARD else int(port_text)
    made: list[Place] = []
    refused: OSError | None = None
    for family, where in _resolve(address, host):
        is_dual = host == _WILDCARD and family == socket.AF_INET6
        try:
            listening = socket.create_server((where, port), family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual)
        except OSError as error:
            refused = refused if refused and refused.errno not in _NOT_HERE else error
            continue
        port = listening.getsockname()[1]  # the others of a host share what was chosen for the first
        made.append(_FixedPlace(f"{TCP}{host}:{port}", listening))
    if refused and (not made or refused.errno not in _NOT_HERE):
        for place in made:
            place.release()
        raise OSError(refused.errno, f"{address}: {os.strerror(refused.errno or 0)}")
    return made


def _resolve(address: str, host: str) -> list[tuple[int, str]]:
    """(family, numeric address) of each that a host has."""
    if host == _WILDCARD:
        return [(socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")]  # noqa: S104
    if found := psutil.net_if_addrs().get(host):
        return [(one.family, one.address) for one in found if one.family in (socket.AF_INET, socket.AF_INET6)]
    try:
        infos = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(f"{address}: {host}: {error.strerror}") from None
    return list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in infos))
