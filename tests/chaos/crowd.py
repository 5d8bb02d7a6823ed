"""A crowd that comes to a daemon all at once: submitters, some that talk nonsense, or strangers without a handshake.

    python -m tests.chaos.crowd '{"kind": ..., "endpoints": [...], "count": ...}'

It stays until its standard input is closed. Its exit status is 1 where it was not treated as it should be, which it
then says on its standard error.
"""

import errno
import itertools
import json
import os
import random
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol

import zmq

from broker.transport.descriptors import raise_limit
from protocol import wire

SUBMITTERS: Final = "submitters"
FRAMES: Final = "frames"
NONSENSE: Final = "nonsense"
STRANGERS: Final = "strangers"

FRAMES_OF_A_MESSAGE: Final = 400_000
# Who makes no handshake is closed by then, and what a busy machine may add to it.
_CLOSED_SECONDS: Final = 10.0
_TOLERANCE_SECONDS: Final = 10.0
_TURN_SECONDS: Final = 0.2
_FRAMES_SECONDS: Final = 5.0
_NONSENSE_A_TURN: Final = 500
_NOT_NOW: Final = (errno.EINPROGRESS, errno.EAGAIN)
# What comes to an open port: a browser, TLS, ssh, a scanner, half a handshake of ZeroMQ's; and one that says nothing.
_WORDS: Final = (
    b"GET / HTTP/1.1\r\nHost: utxod\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x00" * 32,
    b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03",
    b"",
)


class Crowd(Protocol):
    """problem: how it was mistreated, in words."""

    problem: str

    def turn(self) -> None:
        """Called from time to time."""
        ...


class _Peers:
    """Connections of ZeroMQ's own, which are made again where they break."""

    problem = ""

    def __init__(self, endpoints: Sequence[str], count: int) -> None:
        context = zmq.Context()
        context.max_sockets = count + 8
        self._sockets: list[zmq.Socket[bytes]] = []
        for _, endpoint in zip(range(count), itertools.cycle(endpoints), strict=False):
            dealer: zmq.Socket[bytes] = context.socket(zmq.DEALER)
            dealer.linger = 0
            dealer.connect(endpoint)
            self._sockets.append(dealer)

    def _send(self, dealer: "zmq.Socket[bytes]", frames: Sequence[bytes]) -> None:
        with suppress(zmq.Again):
            while True:  # an answer is no news here
                dealer.recv_multipart(zmq.DONTWAIT)
        with suppress(zmq.Again):
            dealer.send_multipart(frames, zmq.DONTWAIT)


class Submitters(_Peers):
    """Each makes a handshake, and then waits for something to do."""

    def __init__(self, endpoints: Sequence[str], count: int) -> None:
        super().__init__(endpoints, count)
        for dealer in self._sockets:
            self._send(dealer, [wire.pack_prefix(wire.HELLO, os.urandom(wire.REQUEST_ID_BYTES))])

    def turn(self) -> None: ...


class ManyFrames(_Peers):
    """Each sends a message of very many frames, and another one some seconds later."""

    _next = 0.0

    def turn(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _FRAMES_SECONDS
            for dealer in self._sockets:
                self._send(dealer, [b"."] * FRAMES_OF_A_MESSAGE)


class Nonsense(_Peers):
    """A flood of messages that are none of the protocol, or nearly."""

    def __init__(self, endpoints: Sequence[str], count: int) -> None:
        super().__init__(endpoints, count)
        self._messages = _nonsense()

    def turn(self) -> None:
        for dealer in self._sockets:
            for frames in itertools.islice(self._messages, _NONSENSE_A_TURN // len(self._sockets) + 1):
                self._send(dealer, frames)


def _nonsense() -> Iterator[list[bytes]]:
    chance = random.Random()
    while True:
        start = chance.choice((b"", wire.MAGIC, wire.MAGIC + bytes([wire.VERSION, chance.choice((1, 3, 5, 7))])))
        first = start + chance.randbytes(chance.choice((0, wire.PREFIX_BYTES - len(start), 40)))
        yield [first, *(chance.randbytes(chance.randrange(200)) for _ in range(chance.randrange(5)))]


class Strangers:
    """Connections that never get through ZeroMQ's handshake. One that is closed is made again."""

    def __init__(self, endpoints: Sequence[str], count: int) -> None:
        self.problem = ""
        self._addresses = [_address(endpoints[number % len(endpoints)]) for number in range(count)]
        self._words = [_WORDS[number % len(_WORDS)] for number in range(count)]
        self._open: dict[int, tuple[socket.socket, float]] = {}

    def turn(self) -> None:
        now = time.monotonic()
        for number, (connection, since) in list(self._open.items()):
            if _is_closed(connection):
                connection.close()
                del self._open[number]
            elif now - since > _CLOSED_SECONDS + _TOLERANCE_SECONDS:
                self.problem = f"who said {self._words[number][:11]!r} was not closed within {_CLOSED_SECONDS:g} s"
        for number in range(len(self._addresses)):
            if number not in self._open:
                self._come(number, now)

    def _come(self, number: int, now: float) -> None:
        family, where = self._addresses[number]
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        if connection.connect_ex(where) not in (0, *_NOT_NOW):
            connection.close()
            return
        with suppress(OSError):
            select.select([], [connection], [], 0.01)
            connection.send(self._words[number])
        self._open[number] = connection, now


def _address(endpoint: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    if endpoint.startswith("ipc://"):
        return socket.AF_UNIX, endpoint.removeprefix("ipc://")
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return socket.AF_INET, (host, int(port))


def _is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


_KINDS: Final[dict[str, Callable[[Sequence[str], int], Crowd]]] = {
    SUBMITTERS: Submitters, FRAMES: ManyFrames, NONSENSE: Nonsense, STRANGERS: Strangers,
}  # fmt: skip


def main() -> int:
    settings = json.loads(sys.argv[1])
    raise_limit()
    crowd = _KINDS[settings["kind"]](settings["endpoints"], settings["count"])
    while not select.select([sys.stdin], [], [], _TURN_SECONDS)[0]:
        crowd.turn()
    if crowd.problem:
        print(crowd.problem, file=sys.stderr)
    return 1 if crowd.problem else 0


if __name__ == "__main__":
    sys.exit(main())
