# Generated from its twin by `python -m tests.protocol.generate_blocking`: change that, and run this.
"""Asks again while it is safe."""

import time
from random import random
from typing import TypeVar

from ...wire import Error
from ..attempts import Attempts
from ..call import Call
from ..errors import NoAnswer
from ..questions import Question
from ..thread_driver import ThreadDriver
from ..timeouts import checked_timeout
from .outputs import OutputAsker
from .transactions import TransactionAsker

T = TypeVar("T")


class Retrying(TransactionAsker, OutputAsker):
    """Asks each question until it is answered, or asking again makes no sense, or the time is over.

    timeout: seconds an attempt may take where the operation is given none. within: seconds for all attempts."""

    def __init__(self, driver: ThreadDriver, timeout: float, within: float) -> None:
        self._driver = driver
        self._timeout = timeout
        self._end = time.monotonic() + checked_timeout(within)

    def _ask(self, question: Question[T], timeout: float | None) -> T:
        call, seconds = question.call, self._timeout if timeout is None else checked_timeout(timeout)
        if call.settled:
            return question.read(call)
        attempts = Attempts(call)
        self._attempt(attempts, call, seconds)
        while (again := self._next(attempts)) is not None:
            try:
                self._attempt(attempts, again, seconds)
            except NoAnswer as closed:  # by now
                attempts.end(Error(closed.code, closed.executed, closed.message))
        return question.read(attempts.settle())

    def _attempt(self, attempts: Attempts, call: Call, seconds: float) -> None:
        call.deadline = min(time.monotonic() + seconds, self._end)
        attempts.take(self._driver.ask(call), time.monotonic(), random())  # noqa: S311 (no secret)

    def _next(self, attempts: Attempts) -> Call | None:
        due = attempts.due
        if due is None or due >= self._end:
            return None
        self._driver.pause(due - time.monotonic())
        return attempts.next() if time.monotonic() < self._end else None
