"""A client's channel to its daemon: a session, and one connection after the other to send it over.

What a client does with ZeroMQ is here and in connection.py. None of it waits, or ends the program it is in: what would
is looked for before (headroom.py), is done beside (addresses.py), or is `free`, which the driver calls where waiting
harms nobody.
"""

import _thread
import contextlib
import time
from typing import Final, Protocol

import zmq

from .addresses import Addresses
from .connection import Connection
from .session import RECONNECT_MAX, SWEEP, Session

PAUSE: Final = 0.02  # seconds between two rounds of connecting in vain; doubled each time, up to
PAUSE_MAX: Final = 0.5
READINGS: Final = 50  # in a row that leave something unread, before deadlines come first: a second of them


class _Context(zmq.Context[zmq.Socket[bytes]]):
    """Where nobody has freed it, the garbage collector takes it and its sockets in any order. ZeroMQ's own would wait
    for them, and with it whoever collects."""

    def __del__(self) -> None:
        if not self.closed:
            self.term_beside()

    def term_beside(self) -> None:
        with contextlib.suppress(RuntimeError):  # no thread is left: ZeroMQ keeps what it has
            _thread.start_new_thread(self.term, ())


class Watcher(Protocol):
    """What a channel asks of its driver. watch: `turn` is due when the descriptor is readable. wake: `turn` is due;
    called in another thread."""

    def watch(self, descriptor: int) -> None: ...

    def unwatch(self, descriptor: int) -> None: ...

    def wake(self) -> None: ...


class Channel:
    """Raises zmq.ZMQError where the endpoint is invalid."""

    def __init__(self, endpoint: str, grace: float, watcher: Watcher) -> None:
        self.session = Session(grace)
        self._grace = grace
        self._watcher = watcher
        self._addresses = Addresses(endpoint, watcher.wake)
        self._connection: Connection | None = None
        self._connect_at = self._sweep_at = 0.0
        self._pause = PAUSE
        self._readings = 0  # in a row that have left something unread
        self._context = _Context()
        try:
            # Its threads start with the first socket, and abort where they find no descriptor: now there are some.
            self._context.socket(zmq.PAIR).close(0)
            self._connect()
        except BaseException:
            self.close()
            self._context.term_beside()  # which waits for what an interrupt has left open
            raise

    @property
    def is_behind(self) -> bool:
        """More has come than was read by now, as after a standstill of this process: whose time is over may have its
        answer there. Not for ever, as where the daemon sends without end."""
        return 0 < self._readings <= READINGS

    def turn(self) -> None:
        """Connects, sends, receives, and settles what is due. Never blocks."""
        now = time.monotonic()
        if self._connection is None and now >= self._connect_at:
            self._reconnect(now)
        if self._connection is not None and not self._connection.pump(self.session):
            self._lost(self._connection, now)
        unread = self._connection is not None and self._connection.has_more
        self._readings = self._readings + 1 if unread else 0
        if now >= self._sweep_at and not self.is_behind:
            self._sweep_at = now + SWEEP
            self.session.expire(now)

    def seconds_until_due(self) -> float | None:
        """Seconds until `turn` is due though nothing that is watched says so; None: not before it is."""
        now = time.monotonic()
        if self._connection is None:
            return SWEEP if self._addresses.looking_up else max(0.0, min(self._connect_at - now, SWEEP))
        return self._connection.seconds_until_due(self.session, now)

    def start_over(self) -> None:
        """After a turn that was interrupted: with another session, and over another connection."""
        self.close()
        self.session = Session(self._grace, self.session.counters)
        self._connect_at = self._sweep_at = 0.0

    def close(self) -> None:
        """Never blocks."""
        if self._connection is not None:
            self._disconnect(self._connection)

    def free(self) -> None:
        """Gives back what ZeroMQ holds, once it is closed. Waits for ZeroMQ's threads."""
        self._context.term()

    def _connect(self) -> None:
        address = self._addresses.next()
        self.session.problem = self._addresses.problem
        if address is not None:
            self._connection = Connection(self._context, address, retried=not self._addresses.named)
            for descriptor in self._connection.descriptors:
                self._watcher.watch(descriptor)

    def _reconnect(self, now: float) -> None:
        try:
            self._connect()
        except (zmq.ZMQError, OSError, RuntimeError) as error:
            self.close()
            if isinstance(error, OSError) and error.errno is None:
                raise  # not the kernel's: a signal handler's TimeoutError
            # No descriptor or no thread is left, say. There may be one soon, and until then deadlines hold.
            self.session.problem = str(error)
            self._connect_at = now + RECONNECT_MAX

    def _lost(self, connection: Connection, now: float) -> None:
        self._disconnect(connection)
        if connection.has_sent:
            self._pause = PAUSE
            self._addresses.forget()
            self._connect_at = self.session.connection_lost(now)
        elif not self._addresses.has_more:
            self._connect_at = now + self._pause
            self._pause = min(PAUSE_MAX, 2 * self._pause)

    def _disconnect(self, connection: Connection) -> None:
        for descriptor in connection.descriptors:
            self._watcher.unwatch(descriptor)
        connection.close()
        self._connection = None
