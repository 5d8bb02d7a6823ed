"""Where newcomers wait: the listening sockets of an address, made and kept by us, so that ZeroMQ never binds by itself.

    ipc:///PATH       a socket's file (path.py)
    ipc://@NAME       a name in the kernel's table; it has no file
    tcp://HOST:PORT   HOST: a name, an IPv4 address, an IPv6 one in brackets, an interface, or * for all of them;
                      PORT 0 or *: any that is free

Newcomers are let in together: `take` gives the socket in whose queue they wait. Where it can be, it is closed to others
from then on, and the next ones wait elsewhere; so there are never more of them than a queue can hold.
"""

import errno
import os
import socket
from typing import Final, NamedTuple, Protocol

import psutil

from protocol.endpoint import port_number

NAME: Final = "ipc://@"
TCP: Final = "tcp://"
# Newcomers that may wait in a queue that can be closed; the kernel takes one more.
QUEUE: Final = 16
MOST_PENDING: Final = QUEUE + 1
_BACKLOG: Final = 128
_PORT_CHOICES: Final = 10
# As long as libzmq's thread may take to get to run on a busy machine.
CLOSED_SECONDS: Final = 0.02
# Where nobody can tell that a queue is empty.
_NAME_SECONDS: Final = 0.005
# Those who wait, and not those who come meanwhile.
OPEN_SECONDS: Final = 0.001
_WILDCARD: Final = "*"
# A host's address that this machine does not have, or a family: no obstacle beside one that it has.
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class PendingConnections(NamedTuple):
    """listening: the socket in whose queue they wait. is_closed: nobody comes after them, and whoever has the socket is
    to close it. seconds: how long the door is open for them at most."""

    listening: socket.socket
    is_closed: bool
    seconds: float


class Place(Protocol):
    """address: as it is told to people and to ZeroMQ. survives_want: whether libzmq only looks again later where it has
    no descriptor to accept there."""

    address: str
    survives_want: bool

    def fileno(self) -> int:
        """The descriptor that can be read while somebody waits, -1 where nobody can. Another one after `take` and
        `renew`."""
        ...

    def take(self) -> PendingConnections:
        """Those who wait. Raises OSError where they can't be had now."""
        ...

    def renew(self) -> None:
        """Puts right what was taken, by `take` or by others. Raises OSError where it can't."""
        ...

    def release(self) -> None:
        """Raises OSError where something can't be removed; the rest is."""
        ...


class NamePlace:
    """address: ipc://@NAME. A name has one socket: while those who wait are let in it has none, and who comes then
    comes again. Raises OSError."""

    survives_want = False

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket: socket.socket | None = self._listen()

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def take(self) -> PendingConnections:
        taken, self._socket = self._socket, None
        if taken is None:
            raise FileNotFoundError(errno.ENOENT, "somebody else has the name")
        taken.shutdown(socket.SHUT_RD)
        return PendingConnections(taken, True, _NAME_SECONDS)

    def renew(self) -> None:
        if self._socket is None:
            self._socket = self._listen()

    def release(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind("\0" + self.address.removeprefix(NAME))
        except OSError as error:
            listening.close()
            raise OSError(error.errno, f"{self.address}: {error.strerror or error}") from None
        listening.listen(QUEUE)
        listening.setblocking(False)
        return listening


class TcpPlace:
    """One address of a host. Its queue can't be closed."""

    survives_want = True

    def __init__(self, address: str, listening: socket.socket) -> None:
        self.address = address
        self._socket = listening
        listening.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def take(self) -> PendingConnections:
        return PendingConnections(self._socket, False, OPEN_SECONDS)

    def renew(self) -> None:
        """Nobody can take it away."""

    def release(self) -> None:
        self._socket.close()


class TcpAddress(NamedTuple):
    """address: tcp://HOST:PORT. port: 0 for any that is free. found: family and numeric address of each that the host
    has."""

    address: str
    host: str
    port: int
    found: list[tuple[int, str]]


def split_tcp(address: str) -> tuple[str, int]:
    """HOST, as it is given, and PORT; nobody is asked. Raises OSError, with the address in its message."""
    host, colon, port = address.removeprefix(TCP).rpartition(":")
    if not colon or not host or not (port == _WILDCARD or port.isdecimal()):
        raise OSError(f"{address:.500}: wanted tcp://HOST:PORT")
    try:
        host.encode("idna")
        number = 0 if port == _WILDCARD else port_number(port)
    except UnicodeError:
        raise OSError(f"{address:.500}: {host!r:.200} can be no host's name") from None
    except ValueError as error:
        raise OSError(f"{address:.500}: {error}") from None
    return host, number


def look_up(address: str) -> TcpAddress:
    """Asks a name server where HOST is a name. Raises OSError, with the address in its message."""
    host, port = split_tcp(address)
    return TcpAddress(address, host, port, _resolve(address, host))


def tcp_places(wanted: TcpAddress) -> list[TcpPlace]:
    """One for each address of the host, all at one port. Raises OSError, with the address in its message."""
    choices = 1 if wanted.port else _PORT_CHOICES
    while True:
        choices -= 1
        try:
            return _listen_at_all(wanted)
        except OSError as error:
            # The port that was chosen at the first address may be taken at another.
            if error.errno != errno.EADDRINUSE or not choices:
                raise


def _listen_at_all(wanted: TcpAddress) -> list[TcpPlace]:
    address, host, port, found = wanted
    made: list[TcpPlace] = []
    refused: OSError | None = None
    for family, where in found:
        is_dual = host == _WILDCARD and family == socket.AF_INET6
        try:
            listening = socket.create_server((where, port), family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual)
        except OSError as error:
            refused = refused if refused and refused.errno not in _NOT_HERE else error
            continue
        port = listening.getsockname()[1]  # the others of a host share what was chosen for the first
        made.append(TcpPlace(f"{TCP}{host}:{port}", listening))
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
        return [(each.family, each.address) for each in found if each.family in (socket.AF_INET, socket.AF_INET6)]
    try:
        infos = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(f"{address}: {host}: {error.strerror}") from None
    return list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in infos))
