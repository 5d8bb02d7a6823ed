"""The blocking client's I/O thread: the edge between its callers, its session and its socket.

Callers hand over through a deque, and wake the thread only where it sleeps: what was handed over while it was busy goes
out together.
"""

import contextlib
import os
import select
import socket
import threading
import time
import weakref
from collections import deque
from typing import Final

import zmq

from . import codes
from .calls import Call
from .errors import ClientClosed
from .link import Link
from .session import RECONNECT_MAX, SWEEP, Session
from .wire import Error

CLOSED: Final = "the client is closed"
FORKED: Final = "this is a forked copy of a client: open one of your own"

_CLOSE_WAIT: Final = 5.0  # seconds; the thread never blocks, so it ends at once
_DISTRUST: Final = 5.0  # seconds beyond deadline and grace after which a caller no longer relies on the thread


class IOThread:
    """Raises zmq.ZMQError where the endpoint is none."""

    def __init__(self, endpoint: str, grace: float) -> None:
        self.session = Session(grace)
        self._ended = ""  # why nothing can be asked any more
        self._endpoint = endpoint
        self._grace = grace
        self._handed: deque[Call] = deque()
        self._asleep = False
        self._sweep_at = self._connect_at = 0.0
        self._pid = os.getpid()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = select.poll()
        try:
            self._link: Link | None = self._connect()
        except BaseException:
            self._context.term()
            raise
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._poller.register(self._woken, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name="utxod-client", daemon=True)
        _everyone.add(self)
        self._thread.start()

    def ask(self, call: Call) -> None:
        """Blocks until the call is settled. Raises ClientClosed where it cannot be asked."""
        if self._ended:
            raise ClientClosed(Error(codes.NO_ANSWER, codes.NO, self._ended))
        lock = call.waiter = threading.Lock()
        lock.acquire()
        self._handed.append(call)
        if self._asleep:
            self._wake()
        if self._ended:
            self._fail_handed()  # the thread may have looked for the last time before this call was there
        if not lock.acquire(timeout=call.deadline - time.monotonic() + self._grace + _DISTRUST):
            call.fail(Error(codes.NO_ANSWER, codes.UNKNOWN, "the client's own I/O thread does not run"))

    def close(self) -> None:
        """Settles every call. Any thread may call it, more than once."""
        if self._pid != os.getpid():
            return
        self._ended = self._ended or CLOSED
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_WAIT)

    def forked(self) -> None:
        self._ended = FORKED

    # The thread.

    def _run(self) -> None:
        try:
            while not self._ended:
                self._turn()
                self._sleep()
        except Exception as error:
            self._ended = f"the client's I/O thread failed: {error!r}"
            raise
        finally:
            self._ended = self._ended or CLOSED
            self._end()

    def _turn(self) -> None:
        session = self.session
        while self._handed:
            session.submit(self._handed.popleft())
        now = time.monotonic()
        if self._link is None and now >= self._connect_at:
            self._reconnect(now)
        if self._link is not None and not self._link.pump(session):
            self._connect_at = session.connection_lost(now)
            self._disconnect(self._link)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP
            session.expire(now)
        for call in session.take_settled():
            call.waiter.release()

    def _sleep(self) -> None:
        now = time.monotonic()
        if self._link is None:
            rest: float | None = max(0.0, min(self._connect_at - now, SWEEP))
        else:
            rest = self._link.rest(self.session, now)
        self._asleep = True
        if not self._handed and not self._ended:
            self._poller.poll(None if rest is None else rest * 1000 + 1)
        self._asleep = False
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)

    def _wake(self) -> None:
        self._asleep = False
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    def _connect(self) -> Link:
        link = Link(self._context, self._endpoint)
        for descriptor in link.descriptors:
            self._poller.register(descriptor, select.POLLIN)
        return link

    def _reconnect(self, now: float) -> None:
        try:
            self._link = self._connect()
        except zmq.ZMQError:  # no descriptor is left, say: there may be one soon, and until then deadlines hold
            self._connect_at = now + RECONNECT_MAX

    def _disconnect(self, link: Link) -> None:
        for descriptor in link.descriptors:
            self._poller.unregister(descriptor)
        link.close()
        self._link = None

    def _end(self) -> None:
        self._fail_handed()
        self.session.close(self._ended)
        for call in self.session.take_settled():
            call.waiter.release()
        if self._link is not None:
            self._disconnect(self._link)
        self._context.term()
        self._woken.close()
        self._waker.close()

    def _fail_handed(self) -> None:
        while True:
            try:
                call = self._handed.popleft()
            except IndexError:
                return
            call.fail(Error(codes.NO_ANSWER, codes.NO, self._ended))
            call.waiter.release()


_everyone: "weakref.WeakSet[IOThread]" = weakref.WeakSet()


def _forked() -> None:
    for thread in _everyone:
        thread.forked()


os.register_at_fork(after_in_child=_forked)
