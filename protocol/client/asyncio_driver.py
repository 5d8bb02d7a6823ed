"""The asyncio client's edge: between its callers and its line, on the loop they share."""

import _thread
import asyncio
import contextlib
import os
import threading
import warnings
import weakref
from asyncio import get_running_loop
from collections.abc import Iterable
from typing import Final

from .. import codes
from ..wire import Error
from .calls import Call
from .channel import Line
from .errors import ClientClosed
from .headroom import check_spare
from .thread_driver import CLOSE_WAIT, CLOSED, FORKED, UNCLOSED

ELSEWHERE: Final = "the client belongs to another event loop: open one of its own in each"


class IOLoop:
    """Raises zmq.ZMQError where the endpoint is none, OSError where too few descriptors or threads are left,
    RuntimeError where no loop is running."""

    def __init__(self, endpoint: str, grace: float) -> None:
        self._ended = ""  # why nothing can be asked any more
        self._loop = get_running_loop()
        self._thread = threading.get_ident()  # the loop's
        self._asked: set[Call] = set()  # those that somebody waits for
        self._turn_due = False  # a turn is in the loop's queue
        self._timer: asyncio.TimerHandle | None = None
        self._freed = asyncio.Event()
        check_spare()
        self._line = Line(endpoint, grace, self)
        self.session = self._line.session
        _everyone.add(self)
        self._soon()

    async def ask(self, call: Call) -> None:
        """Returns when the call is settled. Raises ClientClosed where it cannot be asked."""
        if self._ended or get_running_loop() is not self._loop:
            raise ClientClosed(Error(codes.NO_ANSWER, codes.NO, self._ended or ELSEWHERE))
        call.waiter = self._loop.create_future()
        self._asked.add(call)
        self.session.submit(call)
        if not self._turn_due:
            self._soon()
        try:
            await call.waiter
        except BaseException:  # cancelled, or never to be resumed
            self.session.cancel(call)
            raise
        finally:
            self._asked.discard(call)

    async def close(self) -> None:
        """Settles every call; then waits, not for long, until ZeroMQ has given everything back."""
        if self._ended == FORKED:
            return
        if get_running_loop() is not self._loop:
            self._end_on_its_loop()
            return
        self._end(CLOSED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT):
                await self._freed.wait()

    def abandon(self) -> None:
        """Nobody holds the client any more. Called in garbage collection, in whatever thread: it never waits."""
        if not self._ended:
            self._end_on_its_loop()
            warnings.warn(UNCLOSED, ResourceWarning, stacklevel=2)

    def forked(self) -> None:
        self._ended = FORKED

    # What the line asks of its edge.

    def watch(self, descriptor: int) -> None:
        self._loop.add_reader(descriptor, self._turn)

    def unwatch(self, descriptor: int) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(descriptor)

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._turn)

    # The loop.

    def _soon(self) -> None:
        self._turn_due = True
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self._ended:
            return
        try:
            self._line.turn()
        except Exception as error:
            self._end(f"the client failed: {error!r}")
            raise
        finally:  # also where it was interrupted
            self._wake_settled()
            if not self._ended:
                self._rest()

    def _rest(self) -> None:
        """One timer at most, and none while there is nothing to wait for."""
        rest = self._line.rest()
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
        self._turn()

    def _wake_settled(self) -> None:
        self._wake_callers(self.session.take_settled())

    def _wake_callers(self, calls: Iterable[Call]) -> None:
        if self._loop.is_closed():
            return
        for call in calls:
            if not call.waiter.done():
                call.waiter.set_result(None)

    # The end.

    def _end(self, reason: str) -> None:
        """Never waits."""
        if self._ended:
            return
        self._ended = reason
        self.session.close(reason)
        self._wake_settled()
        lost = [call for call in self._asked if not call.settled]  # by the session, where a turn failed
        for call in lost:
            call.fail(Error(codes.NO_ANSWER, codes.UNKNOWN, reason))
        self._wake_callers(lost)
        if self._timer is not None:
            self._timer.cancel()
        self._line.close()
        try:
            _thread.start_new_thread(self._free, ())
        except RuntimeError:  # no thread is left: ZeroMQ keeps what it has
            self._freed.set()

    def _end_on_its_loop(self) -> None:
        """Called outside it, and from any thread."""
        if threading.get_ident() == self._thread and not self._loop.is_running():
            self._end(CLOSED)  # it may never run again, and can't begin to meanwhile
            return
        try:
            self._loop.call_soon_threadsafe(self._end, CLOSED)
        except RuntimeError:  # it is closed: nobody else uses what is ended
            self._end(CLOSED)

    def _free(self) -> None:
        self._line.free()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._freed.set)


_everyone: "weakref.WeakSet[IOLoop]" = weakref.WeakSet()


def _forked() -> None:
    for io in _everyone:
        io.forked()


os.register_at_fork(after_in_child=_forked)
