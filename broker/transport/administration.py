"""The administration socket: where an operator's commands come in, beside what submitters ask.

A connection sends packets of JSON, maps, and gets one in answer to each; they are bounded, and so are the orders of one
connection that wait for their answers. Only the daemon's user and root are heard. Nothing here waits for anybody: who
does not read is closed, as is who says nothing for some seconds, and more than some at once are turned away.

Where there is no socket (administration_place.py), `path` is empty, and the daemon serves all the same.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from .administration_place import AdministrationPlace, Made, address_of

_MOST_CONNECTIONS: Final = 8
_REQUEST_BYTES: Final = 4096
# Orders of one connection that may wait for their answers.
_MOST_WAITING: Final = 32
# What an answer has at most.
ANSWER_BYTES: Final = 1 << 16
# How long somebody may say nothing.
_SILENCE_SECONDS: Final = 5.0
_PEER: Final = struct.Struct("3i")  # pid, uid, gid


class Asker:
    """Who is connected. pid: its process. heard_at: when it last asked or was answered. waiting: orders of its that are
    to be answered."""

    def __init__(self, connection: socket.socket, pid: int, now: float) -> None:
        self.connection = connection
        self.pid = pid
        self.heard_at = now
        self.waiting = 0


class Administration:
    """directory: where the socket is made, with the directory if need be. watch, unwatch: whether `receive` is to be
    called when a descriptor can be read."""

    def __init__(self, directory: Path, watch: Callable[[int], None], unwatch: Callable[[int], None]) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._askers: dict[int, Asker] = {}
        self._is_watched = False
        self._place = AdministrationPlace(directory)
        self._made: Made | None = None
        self._follow()

    @property
    def path(self) -> str:
        """Of the socket, "" where there is none."""
        return "" if self._made is None else str(self._made.path)

    def owns(self, descriptor: int) -> bool:
        """Whether what can be read there is for `receive`."""
        is_listening = self._made is not None and descriptor == self._made.listening.fileno()
        return is_listening or descriptor in self._askers

    def receive(self, descriptor: int) -> Iterator[tuple[Asker, dict[str, Any]]]:
        """What somebody asks there, if anything; newcomers are let in."""
        asker = self._askers.get(descriptor)
        if asker is None:
            self._let_in()
            return
        try:
            packet, _, flags, _ = asker.connection.recvmsg(_REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet, flags = b"", 0
        if not packet:
            self._close(asker)
            return
        asker.heard_at = time.monotonic()
        asker.waiting += 1
        try:
            request = None if flags & socket.MSG_TRUNC else json.loads(packet)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            self.answer(asker, {"error": f"wanted one map of JSON, in {_REQUEST_BYTES} bytes at most"})
        elif asker.waiting > _MOST_WAITING:
            self.answer(asker, {"error": f"{_MOST_WAITING} orders of yours wait for their answers already; try again"})
        else:
            yield asker, request

    def answer(self, asker: Asker, answer: dict[str, Any]) -> None:
        """Sends it; nothing, where who asked is gone."""
        asker.waiting -= 1
        asker.heard_at = time.monotonic()
        if self._askers.get(asker.connection.fileno()) is asker and not _send(asker.connection, answer):
            self._close(asker)

    def answer_all(self, answer: dict[str, Any]) -> None:
        """To all who are connected, asked for or not."""
        for asker in list(self._askers.values()):
            self.answer(asker, answer)

    def tend(self) -> None:
        """From time to time: closes who says nothing; looks at newcomers again where they had to wait, or the socket
        was made anew."""
        now = time.monotonic()
        for asker in list(self._askers.values()):
            if asker.waiting <= 0 and now - asker.heard_at > _SILENCE_SECONDS:
                self._close(asker)
        self._follow()

    def close(self) -> None:
        """And removes the socket, where it is still ours."""
        for asker in list(self._askers.values()):
            self._close(asker)
        self._close_listening()
        self._place.close()

    def _let_in(self) -> None:
        assert self._made is not None
        try:
            connection, _ = self._made.listening.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptors are left: it would be told of all the time
            self._ignore_newcomers()
            return
        pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        refusal = ""
        if uid not in (os.geteuid(), 0):
            refusal = f"only the daemon's user (uid {os.geteuid()}) and root may do that; you are uid {uid}"
        elif len(self._askers) >= _MOST_CONNECTIONS:
            refusal = f"{_MOST_CONNECTIONS} others are connected already; try again"
        if refusal:
            with connection:
                _send(connection, {"error": refusal})
            return
        connection.setblocking(False)
        self._askers[connection.fileno()] = Asker(connection, pid, time.monotonic())
        self._watch(connection.fileno())

    def _close(self, asker: Asker) -> None:
        del self._askers[asker.connection.fileno()]
        self._unwatch(asker.connection.fileno())
        asker.connection.close()

    def _follow(self) -> None:
        """To where the socket is now."""
        now = self._place.made
        if now is not self._made:
            self._close_listening()
            self._made = now
        if self._made is not None and not self._is_watched:
            self._is_watched = True
            self._watch(self._made.listening.fileno())

    def _close_listening(self) -> None:
        self._ignore_newcomers()
        if self._made is not None:
            self._made.listening.close()

    def _ignore_newcomers(self) -> None:
        if self._made is not None and self._is_watched:
            self._is_watched = False
            self._unwatch(self._made.listening.fileno())


def connect(path: Path, seconds: float) -> socket.socket:
    """A socket on which nothing takes longer than that. Raises OSError: BlockingIOError where too many wait already."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(seconds)
    try:
        with address_of(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _send(connection: socket.socket, answer: dict[str, Any]) -> bool:
    """Whether it was taken."""
    packet = json.dumps(answer).encode()
    try:
        connection.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True
