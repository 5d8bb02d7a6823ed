"""A small HTTP server for a few pages that only show. It is open to whoever reaches it, so everything is bounded: the
connections, the length of a request's head, and the time that either direction may take."""

import contextlib
import http.client
import io
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, TCPServer, ThreadingMixIn
from typing import Any, Final, NamedTuple

from .hosts import may_ask

log = logging.getLogger("utxod.figures")

TEXT: Final = "text/plain; charset=utf-8"
# Each has a thread. Who comes while there are so many takes the place of who has kept the server waiting for longest.
MOST_CONNECTIONS: Final = 32
# For a thread to end whose connection is shut down.
_LEAVE_SECONDS: Final = 1.0
MOST_HEAD_BYTES: Final = 1 << 14
# For a request's head to arrive, and for its answer to be taken.
SECONDS: Final = 10.0
# Nobody asks it to stop; it ends with its process.
_LOOK_SECONDS: Final = 3600.0
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NOT_BY_THIS_NAME: Final = (
    b"not by this name: ask by an address of this machine, by localhost or by its host name, or let the daemon's "
    b"setting `metrics` be this name and the port\n"
)


class Answer(NamedTuple):
    """headers: beside those that every answer has."""

    status: int
    kind: str
    body: bytes
    headers: Mapping[str, str] = {}


# Makes the answer of what the request's Accept says; empty where it says nothing.
Page = Callable[[str], Answer]


def serve(listening: Sequence[socket.socket], pages: Mapping[str, Page], name: str) -> None:
    """Serves the pages, by their paths, at each of the sockets, and does not return. name: by which browsers may ask,
    too."""
    room = Room(MOST_CONNECTIONS)
    servers = [Server(each, pages, room, name) for each in listening]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, args=(_LOOK_SECONDS,), daemon=True).start()
    servers[0].serve_forever(_LOOK_SECONDS)


class Room:
    """places: how many connections there may be, at all sockets together. Nobody holds one against others by saying
    nothing, or by not reading: health is asked here, and a daemon that does not answer is ended."""

    def __init__(self, places: int) -> None:
        self._free = threading.BoundedSemaphore(places)
        self._awaited: dict[Any, bool] = {}  # whose peers are waited for, the longest first: True

    def enter(self, connection: Any) -> bool:
        """Whether there is a place: a free one, or that of whose peer has been waited for for longest."""
        if not self._free.acquire(blocking=False):
            longest = self._given_up()
            if longest is None:
                return False
            with contextlib.suppress(OSError):  # it is gone
                longest.shutdown(socket.SHUT_RDWR)
            if not self._free.acquire(timeout=_LEAVE_SECONDS):
                return False
        self._awaited[connection] = True
        return True

    def leave(self, connection: Any) -> None:
        """It has ended, and its place is free."""
        self._awaited.pop(connection, None)
        self._free.release()

    @contextlib.contextmanager
    def at_work(self, connection: Any) -> Iterator[None]:
        """Meanwhile the peer waits for the server, which does not end that."""
        self._awaited.pop(connection, None)
        try:
            yield
        finally:
            self._awaited[connection] = True

    def _given_up(self) -> Any:
        """Whose peer has been waited for for longest, and is no more; None where all are at work. Whoever it is, it may
        just begin."""
        return next((each for each in list(self._awaited) if self._awaited.pop(each, False)), None)


class Server(ThreadingMixIn, TCPServer):
    """Serves at one socket. room: for connections, at all sockets together. name: by which browsers may ask, too."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, pages: Mapping[str, Page], room: Room, name: str) -> None:
        BaseServer.__init__(self, listening.getsockname(), _Handler)
        self.socket = listening
        self.pages = pages
        self.room = room
        self.name = name

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.room.enter(request):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be had
            self.room.leave(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.leave(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who has gone, or does not come to an end, is nobody's concern."""
        if not isinstance(sys.exc_info()[1], OSError | http.client.HTTPException):
            log.exception("a defect in the answer to %s", client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request on one connection: without keep-alive nobody holds a place."""

    server: Server
    server_version = "utxod"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Head(self.connection))

    def do_GET(self) -> None:
        authority, path = self._target()
        if not may_ask(self.headers, authority, self.server.name):
            self._answer(Answer(HTTPStatus.MISDIRECTED_REQUEST, TEXT, _NOT_BY_THIS_NAME))
            return
        page = self.server.pages.get(path)
        if page is None:
            paths = "  ".join(self.server.pages)
            self._answer(Answer(HTTPStatus.NOT_FOUND, TEXT, f"not found; there are: {paths}\n".encode()))
            return
        try:
            with self.server.room.at_work(self.connection):
                answer = page(self.headers.get("Accept", ""))
        except Exception:
            log.exception("a defect: %s can't be shown", self.path)
            answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"a defect; the daemon's log has it\n")
        self._answer(answer)

    do_HEAD = do_GET

    def _target(self) -> tuple[str, str]:
        """Whom it asks, and for which path: also in the form that a proxy is asked in."""
        absolute = re.match("https?://([^/?]*)(.*)", self.path, re.IGNORECASE)
        authority, path = absolute.groups() if absolute else (self.headers.get("Host", ""), self.path)
        return authority, path.partition("?")[0] or "/"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses; a method that it has no function for is not allowed here."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            allowed = {"Allow": "GET, HEAD"}
            self._answer(Answer(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD\n", allowed))
        else:
            self._answer(Answer(code, TEXT, f"{HTTPStatus(code).phrase}\n".encode()))

    def log_message(self, format: str, *args: Any) -> None:
        """Who asks is not noted."""

    def _answer(self, answer: Answer) -> None:
        self.connection.settimeout(SECONDS)
        self.send_response(answer.status)
        for name, value in {**_HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)


class _Head(io.RawIOBase):
    """What a connection sends, so many bytes and seconds of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = time.monotonic() + SECONDS
        self._left = MOST_HEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if self._left <= 0:
            raise http.client.LineTooLong("head")
        self._connection.settimeout(left)
        received = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= received
        return received
