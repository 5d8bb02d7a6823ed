"""The asyncio client's driver: it runs on the event loop of its callers.

The sockets' descriptors are watched by the loop itself. What is asked within one turn of the loop goes out together at
its end.
"""

import _thread
import asyncio
import contextlib
import threading
from asyncio import get_running_loop
from collections.abc import Iterable
from typing import Final

from .call import Call
from .driver import CLOSE_WAIT, CLOSED, FORKED, Driver, refusal

ELSEWHERE: Final = "the client belongs to another event loop: open one of its own in each"


class AsyncioDriver(Driver):
    """Raises zmq.ZMQError where the endpoint is invalid, RuntimeError where no loop is running."""

    def __init__(self, endpoint: str, grace: float) -> None:
        self._loop = get_running_loop()
        self._thread = threading.get_ident()  # the loop's
        self._turn_due = False  # a turn is in the loop's queue
        self._timer: asyncio.TimerHandle | None = None
        self._freed = asyncio.Event()
        super().__init__(endpoint, grace)
        self._turn_soon()

    async def ask(self, call: Call) -> Call:
        """Returns the call when it is settled; it may have been begun before. Raises ClientClosed where it cannot be
        asked."""
        if call.waiter is None:
            self.begin(call)
        try:
            await call.waiter
        except BaseException:  # cancelled, or never to be resumed
            self.session.cancel(call)
            raise
        finally:
            self._asked.pop(call, None)
        return call

    def begin(self, call: Call) -> None:
        """Asks, and waits for nothing: `ask` does that later, or else `drop` is to be called. Raises ClientClosed."""
        if self._ended or get_running_loop() is not self._loop:
            raise refusal(self._ended or ELSEWHERE)
        call.waiter = self._loop.create_future()
        self._asked[call] = self._thread
        self.session.submit(call)
        if not self._turn_due:
            self._turn_soon()

    def drop(self, call: Call) -> None:
        """Nobody waits any more for what was begun."""
        self.session.cancel(call)
        self._asked.pop(call, None)

    async def pause(self, seconds: float) -> None:
        """Returns when the time is over, or the client is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._freed.wait()

    async def close(self) -> None:
        """Settles every call; then waits, not for long, until ZeroMQ has given everything back."""
        if self._ended == FORKED:
            return
        if get_running_loop() is not self._loop:
            self._request_end()
            return
        self._end(CLOSED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT):
                await self._freed.wait()

    # What the channel asks of its driver.

    def watch(self, descriptor: int) -> None:
        self._loop.add_reader(descriptor, self._turn)

    def unwatch(self, descriptor: int) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(descriptor)

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._turn)

    # The loop.

    def _turn_soon(self) -> None:
        self._turn_due = True
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self._ended:
            return
        try:
            self._channel.turn()
        except Exception as error:
            self._end(f"the client failed: {error!r}")
            raise
        except BaseException:  # interrupted
            self._start_over()
            raise
        finally:  # also where it was interrupted
            self._wake_callers(self.session.take_settled())
            if not self._ended:
                self._set_timer()

    def _set_timer(self) -> None:
        """One timer at most, and none while there is nothing to wait for."""
        seconds = self._channel.seconds_until_due()
        if seconds is None:
            return
        due = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._timed_turn)

    def _timed_turn(self) -> None:
        self._timer = None
        self._turn()

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
        self._settle_all(reason)
        if self._timer is not None:
            self._timer.cancel()
        self._channel.close()
        try:
            _thread.start_new_thread(self._free, ())
        except RuntimeError:  # no thread is left: ZeroMQ keeps what it has
            self._freed.set()

    def _request_end(self) -> None:
        """Never waits. Called outside the loop, and from any thread."""
        if self._ended:
            return
        if threading.get_ident() == self._thread and not self._loop.is_running():
            self._end(CLOSED)  # it may never run again, and can't begin to meanwhile
            return
        try:
            self._loop.call_soon_threadsafe(self._end, CLOSED)
        except RuntimeError:  # it is closed: nobody else uses what is ended
            self._end(CLOSED)

    def _free(self) -> None:
        self._channel.free()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._freed.set)
