"""The blocking client's I/O thread: the edge between its callers and its line.

Callers hand over through a deque, and wake the thread only where it sleeps: what was handed over while it was busy goes
out together.
"""

import contextlib
import os
import select
import socket
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from typing import Final

from .. import codes
from ..wire import Error
from .calls import Call
from .channel import Line
from .errors import ClientClosed
from .headroom import check_spare

CLOSED: Final = "the client is closed"
FORKED: Final = "this is a forked copy of a client: open one of your own"
ENDING: Final = "the program ends, and the client's I/O thread has ended before it"
UNCLOSED: Final = "a utxod client was dropped without being closed"
CLOSE_WAIT: Final = 5.0  # seconds; the longest that closing may take

_DISTRUST: Final = 5.0  # seconds beyond deadline and grace after which a caller no longer relies on the thread


class IOThread:
    """Raises zmq.ZMQError where the endpoint is none, OSError where too few descriptors or threads are left."""

    def __init__(self, endpoint: str, grace: float) -> None:
        check_spare()
        self._ended = ""  # why nothing can be asked any more
        self._grace = grace
        self._asked: set[Call] = set()  # those that somebody waits for
        self._handed: deque[Call] = deque()
        self._asleep = False
        self._pid = os.getpid()
        self._poller = select.poll()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self.watch(self._woken.fileno())
        try:
            self._line = Line(endpoint, grace, self)
        except BaseException:
            self._close_pair()
            raise
        self.session = self._line.session
        self._thread = threading.Thread(target=self._run, name="utxod-client", daemon=True)
        _everyone.add(self)
        try:
            self._thread.start()
        except RuntimeError:
            self._end()
            raise
        except BaseException:  # interrupted: it may run by now, and then what is its own is its to end
            self._tell()
            raise

    def ask(self, call: Call) -> None:
        """Blocks until the call is settled. Raises ClientClosed where it cannot be asked."""
        if sys.is_finalizing():
            self._ended = self._ended or ENDING
        if self._ended:
            raise ClientClosed(Error(codes.NO_ANSWER, codes.NO, self._ended))
        lock = call.waiter = threading.Lock()
        lock.acquire()
        try:
            self._asked.add(call)
            self._hand(call)
            if self._ended:
                self._fail_handed()  # the thread may have looked for the last time before this call was there
            answered = lock.acquire(timeout=call.deadline - time.monotonic() + self._grace + _DISTRUST)
        except BaseException:  # interrupted: nobody waits for it any more, and what has not left yet stays here
            call.waiter = None
            self._hand(call)
            raise
        finally:
            self._asked.discard(call)
        if not answered:
            call.fail(Error(codes.NO_ANSWER, codes.UNKNOWN, "the client's own I/O thread does not run"))

    def close(self) -> None:
        """Settles every call. Any thread may call it, more than once."""
        self._tell()
        alone = self._ended == FORKED or sys.is_finalizing()  # there is no such thread
        if not alone and threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_WAIT)

    def abandon(self) -> None:
        """Nobody holds the client any more. Called in garbage collection: it never waits."""
        unclosed = not self._ended
        self._tell()
        if unclosed:
            warnings.warn(UNCLOSED, ResourceWarning, stacklevel=2)

    def forked(self) -> None:
        self._ended = FORKED

    # What the line asks of its edge.

    def watch(self, descriptor: int) -> None:
        self._poller.register(descriptor, select.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)

    def wake(self) -> None:
        """One byte is enough, however many hand over meanwhile: they don't wake it again."""
        try:
            self._asleep = False
            self._waker.send(b"\0")
        except OSError:  # it is full of them, or closed
            pass
        except BaseException:  # interrupted, and others relied on it
            with contextlib.suppress(OSError):
                self._waker.send(b"\0")
            raise

    # Other threads.

    def _hand(self, call: Call) -> None:
        self._handed.append(call)
        if self._asleep:
            self.wake()

    def _tell(self) -> None:
        """The thread is to end; is told again, as an interrupt may have kept it asleep the first time."""
        if self._ended != FORKED:
            self._ended = self._ended or CLOSED
            self.wake()

    # The thread.

    def _run(self) -> None:
        try:
            while not self._ended:
                self._turn()
                self._sleep()
        except BaseException as error:
            self._ended = f"the client's I/O thread failed: {error!r}"
            raise
        finally:
            self._end()

    def _turn(self) -> None:
        while self._handed:
            call = self._handed.popleft()
            if call.waiter is None:
                self.session.cancel(call)
            else:
                self.session.submit(call)
        self._line.turn()
        self._wake_settled()

    def _sleep(self) -> None:
        rest = self._line.rest()
        self._asleep = True
        if not self._handed and not self._ended:
            self._poller.poll(None if rest is None else rest * 1000 + 1)
        self._asleep = False
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)

    def _end(self) -> None:
        self._fail_handed()
        self.session.close(self._ended)
        self._wake_settled()
        for call in list(self._asked):
            if not call.settled:  # where the thread failed, the session may have lost it
                call.fail(Error(codes.NO_ANSWER, codes.UNKNOWN, self._ended))
                _release(call)
        self._line.close()
        self._line.free()
        self._close_pair()

    def _wake_settled(self) -> None:
        for call in self.session.take_settled():
            _release(call)

    def _fail_handed(self) -> None:
        while True:
            try:
                call = self._handed.popleft()
            except IndexError:
                return
            call.fail(Error(codes.NO_ANSWER, codes.NO, self._ended))
            _release(call)

    def _close_pair(self) -> None:
        self._woken.close()
        self._waker.close()


def _release(call: Call) -> None:
    waiter = call.waiter
    if waiter is not None:
        waiter.release()


_everyone: "weakref.WeakSet[IOThread]" = weakref.WeakSet()


def _forked() -> None:
    for thread in _everyone:
        thread.forked()


os.register_at_fork(after_in_child=_forked)
