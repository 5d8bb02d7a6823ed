"""The asyncio client's edge: between its callers, its session and its socket, on the loop they share."""

import asyncio
import os
import time
import weakref

import zmq

from . import codes
from .calls import Call
from .errors import ClientClosed
from .iothread import CLOSED, FORKED
from .link import Link
from .session import RECONNECT_MAX, SWEEP, Session
from .wire import Error


class IOLoop:
    """Raises zmq.ZMQError where the endpoint is none, RuntimeError where no loop is running."""

    def __init__(self, endpoint: str, grace: float) -> None:
        self.session = Session(grace)
        self._ended = ""  # why nothing can be asked any more
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._turn_due = False  # a turn is in the loop's queue
        self._timer: asyncio.TimerHandle | None = None
        self._connect_at = 0.0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._link: Link | None = self._connect()
        except BaseException:
            self._context.term()
            raise
        _everyone.add(self)
        self._soon()

    async def ask(self, call: Call) -> None:
        """Returns when the call is settled. Raises ClientClosed where it cannot be asked."""
        if self._ended:
            raise ClientClosed(Error(codes.NO_ANSWER, codes.NO, self._ended))
        call.waiter = self._loop.create_future()
        self.session.submit(call)
        if not self._turn_due:
            self._soon()
        try:
            await call.waiter
        except asyncio.CancelledError:
            self.session.cancel(call)
            raise

    def close(self) -> None:
        if self._ended:
            return
        self._ended = CLOSED
        self.session.close(CLOSED)
        self._wake_settled()
        if self._link is not None:
            self._disconnect(self._link)
        if self._timer is not None:
            self._timer.cancel()
        self._context.term()

    def forked(self) -> None:
        self._ended = FORKED

    def _soon(self) -> None:
        self._turn_due = True
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self._ended:
            return
        session = self.session
        now = time.monotonic()
        if self._link is None and now >= self._connect_at:
            self._reconnect(now)
        if self._link is not None and not self._link.pump(session):
            self._connect_at = session.connection_lost(now)
            self._disconnect(self._link)
        self._wake_settled()
        self._rest(now)

    def _rest(self, now: float) -> None:
        """One timer at most, and none while there is nothing to wait for."""
        if self._link is None:
            rest: float | None = max(0.0, min(self._connect_at - now, SWEEP))
        else:
            rest = self._link.rest(self.session, now)
        if rest is None:
            return
        due = self._loop.time() + rest
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.session.expire(time.monotonic())
        self._turn()

    def _wake_settled(self) -> None:
        for call in self.session.take_settled():
            if not call.waiter.done():
                call.waiter.set_result(None)

    def _connect(self) -> Link:
        link = Link(self._context, self._endpoint)
        for descriptor in link.descriptors:
            self._loop.add_reader(descriptor, self._turn)
        return link

    def _reconnect(self, now: float) -> None:
        try:
            self._link = self._connect()
        except zmq.ZMQError:  # no descriptor is left, say: there may be one soon, and until then deadlines hold
            self._connect_at = now + RECONNECT_MAX

    def _disconnect(self, link: Link) -> None:
        for descriptor in link.descriptors:
            self._loop.remove_reader(descriptor)
        link.close()
        self._link = None


_everyone: "weakref.WeakSet[IOLoop]" = weakref.WeakSet()


def _forked() -> None:
    for io in _everyone:
        io.forked()


os.register_at_fork(after_in_child=_forked)
