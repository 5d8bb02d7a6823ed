"""The blocking client's driver: it runs in an I/O thread of its own.

Callers hand over through a deque, and wake the thread only where it sleeps: what was handed over while it was busy goes
out together.
"""

import contextlib
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from .. import codes
from ..wire import Error
from .call import Call
from .driver import CLOSE_WAIT, CLOSED, FORKED, Driver, refusal

ENDING: Final = "the program ends, and the client's I/O thread has ended before it"
_DISTRUST: Final = 5.0  # seconds beyond deadline and grace after which a caller no longer relies on the thread


class ThreadDriver(Driver):
    """Raises zmq.ZMQError where the endpoint is invalid, RuntimeError where no thread is left."""

    def __init__(self, endpoint: str, grace: float) -> None:
        self._grace = grace
        self._handed: deque[Call] = deque()
        self._asleep = False
        self._poller = select.poll()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self.watch(self._woken.fileno())
        try:
            super().__init__(endpoint, grace)
        except BaseException:
            self._close_pair()
            raise
        self._thread = threading.Thread(target=self._run, name="utxod-client", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._end()
            raise
        except BaseException:  # interrupted: it may run by now, and then what is its own is its to end
            self._request_end()
            raise

    def ask(self, call: Call) -> None:
        """Blocks until the call is settled. Raises ClientClosed where it cannot be asked."""
        if sys.is_finalizing():
            self._ended = self._ended or ENDING
        if self._ended:
            raise refusal(self._ended)
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
        self._request_end()
        alone = self._ended == FORKED or sys.is_finalizing()  # there is no such thread
        if not alone and threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_WAIT)

    # What the channel asks of its driver.

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

    def _request_end(self) -> None:
        """Never waits. The thread is told again each time: an interrupt may have kept it asleep the first time."""
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
        self._channel.turn()
        self._wake_callers(self.session.take_settled())

    def _sleep(self) -> None:
        seconds = self._channel.seconds_until_due()
        self._asleep = True
        if not self._handed and not self._ended:
            self._poller.poll(None if seconds is None else seconds * 1000 + 1)
        self._asleep = False
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)

    def _end(self) -> None:
        self._fail_handed()
        self._settle_all()
        self._channel.close()
        self._channel.free()
        self._close_pair()

    def _wake_callers(self, calls: Iterable[Call]) -> None:
        for call in calls:
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
