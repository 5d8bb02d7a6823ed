"""Futures of calls that nobody waits in, and the thread that settles them.

Whoever has a turn settles calls, and has no time for what the program does with a future: it hands the promise on. The
thread is there while promises are open, and for a moment after. It also is who looks, in place of callers that wait,
whether anybody still drives the client, and who gives up what is overdue.
"""

import contextlib
import threading
import time
from concurrent.futures import Future, InvalidStateError
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from .call import Call
from .questions import Question

LOOK: Final = 0.25  # seconds


class Beginner(Protocol):
    """What promises ask of the driver."""

    def admit(self) -> int: ...

    def begin(self, call: Call) -> None: ...

    def drop(self, call: Call) -> None: ...

    def given_up(self, call: Call, now: float) -> Call | None: ...

    def look(self) -> None: ...


class _Promise:
    """It is its call's waiter. kept: what is not to be dropped while it is open."""

    def __init__(self, question: Question[Any], settled: "SimpleQueue[_Promise]", kept: object) -> None:
        self.question = question
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()  # what may have been sent is not to be called off
        self._settled = settled
        self.kept = kept

    def put(self, _: None) -> None:
        """Its call is settled."""
        self._settled.put(self)


class Promises:
    """Any thread may call any method at any time."""

    def __init__(self, driver: Beginner) -> None:
        self._driver = driver
        self._open: dict[_Promise, None] = {}
        self._settled: SimpleQueue[_Promise] = SimpleQueue()
        self._lock = threading.RLock()  # of the thread's being there
        self._runs = False

    def ask(self, question: Question[Any], kept: object) -> "Future[Any]":
        """Raises ClientClosed, and RuntimeError where no thread is left."""
        self._driver.admit()
        promise = _Promise(question, self._settled, kept)
        with self._lock:
            if not self._runs:
                self._runs = True
                try:
                    threading.Thread(target=self._run, name="utxod-client-futures", daemon=True).start()
                except BaseException:  # interrupted: it may run all the same, and one more does no harm
                    self._runs = False
                    raise
            self._open[promise] = None
        try:
            if question.call.settled:  # there was nothing to ask
                promise.put(None)
            else:
                question.call.waiter = promise
                self._driver.begin(question.call)
        except BaseException:
            self._open.pop(promise, None)
            self._driver.drop(question.call)
            raise
        return promise.future

    def settle_all(self) -> None:
        """The client is closed: all calls are settled."""
        for promise in list(self._open):
            if promise.question.call.settled:
                self._settle(promise, promise.question.call)

    def _run(self) -> None:
        looked_at = time.monotonic()
        while True:
            with contextlib.suppress(Empty):
                promise = self._settled.get(timeout=LOOK)
                self._settle_here(promise, promise.question.call)
            now = time.monotonic()
            if now - looked_at < LOOK:
                continue
            looked_at = now
            self._look(now)
            with self._lock:
                if not self._open:
                    self._runs = False
                    return

    def _look(self, now: float) -> None:
        with contextlib.suppress(Exception):  # the next turn starts over
            self._driver.look()
        for promise in list(self._open):
            call = promise.question.call
            settled = call if call.settled else self._driver.given_up(call, now)
            if settled is not None:
                self._settle_here(promise, settled)

    def _settle_here(self, promise: _Promise, call: Call) -> None:
        with contextlib.suppress(BaseException):  # of a callback: an Exception of it is logged by the future
            self._settle(promise, call)

    def _settle(self, promise: _Promise, call: Call) -> None:
        """call: the promise's, or another in its place. It is open until its future is settled, so that an interrupt
        before that leaves it to the next who settles."""
        if promise not in self._open:  # by another thread, or nobody has the future
            return
        self._driver.drop(promise.question.call)
        try:
            try:
                result = promise.question.read(call)
            except Exception as error:
                promise.future.set_exception(error)
            else:
                promise.future.set_result(result)
        except InvalidStateError:  # by another thread just now
            pass
        finally:
            if promise.future.done():
                self._open.pop(promise, None)
                promise.kept = None
