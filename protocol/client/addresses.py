"""The addresses of an endpoint, to be tried one after the other.

ZeroMQ is given addresses only, never a name. It would look a name up in its own I/O thread, where a name server that
says nothing holds up all else, the closing too; and of a name's addresses it would try the first alone, so that a
daemon that listens at 127.0.0.1 is not found under `localhost` where that is ::1 first. Here a name is looked up in a
thread of its own, that nobody waits for, and anew for each round of connecting: names move.
"""

import _thread
import errno
import ipaddress
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import zmq

LOOKUP_PAUSE: Final = 1.0  # seconds after a lookup that failed

_TCP: Final = "tcp://"
_NAMED = re.compile(r"tcp://((?:[^;]*;)?)([\w.-]+):([0-9]{1,5})", re.ASCII)


class Addresses:
    """found: called when there is something to connect to, in another thread. Raises zmq.ZMQError where the endpoint
    is invalid."""

    def __init__(self, endpoint: str, found: Callable[[], None]) -> None:
        self.problem = ""  # why there is no address
        self._endpoint = endpoint
        self._found = found
        self._known: deque[str] = deque()
        self.looking_up = False  # there is no address for the moment
        self.named = endpoint.startswith(_TCP) and not _numeric(endpoint)
        if self.named:
            match = _NAMED.fullmatch(endpoint)
            if match is None or not 0 < int(match[3]) < 65_536:
                raise zmq.ZMQError(errno.EINVAL, f"{endpoint}: not tcp://HOST:PORT")
            self._source, self._host, self._port = match[1], match[2], int(match[3])

    def next(self) -> str | None:
        """The endpoint to try next; None while it is being looked up. Raises RuntimeError where no thread is left."""
        if not self.named:
            return self._endpoint
        if self._known:
            return self._known.popleft()
        if not self.looking_up:
            self.problem = self.problem or f"{self._host} is being looked up"  # or why that came to nothing before
            self.looking_up = True
            try:
                _thread.start_new_thread(self._look_up, ())
            except RuntimeError:
                self.looking_up = False
                raise
        return None

    @property
    def has_more(self) -> bool:
        """There is another to try before the name is looked up again."""
        return bool(self._known)

    def forget(self) -> None:
        """What was looked up may hold no longer."""
        self._known.clear()

    def _look_up(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            if not found:
                raise OSError("it has no address")
            self._known.extend(f"{_TCP}{self._source}{_written(family, address)}" for family, *_, address in found)
            self.problem = ""
        except Exception as error:  # no memory, say: it is tried again all the same
            self.problem = f"{self._host} can't be looked up: {str(error) or repr(error)}"
            time.sleep(LOOKUP_PAUSE)
        finally:
            self.looking_up = False
        self._found()


def _numeric(endpoint: str) -> bool:
    host = endpoint.rpartition(";")[2].removeprefix(_TCP).rpartition(":")[0]
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _written(family: int, address: tuple[Any, ...]) -> str:
    host, port, *more = address
    if family != socket.AF_INET6:
        return f"{host}:{port}"
    zone = f"%{more[1]}" if len(more) > 1 and more[1] else ""
    return f"[{host}{zone}]:{port}"
