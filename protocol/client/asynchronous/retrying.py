"""Asks again while it is safe. Its twin is generated: tests/protocol/generate_blocking.py."""

import time
from random import random
from typing import TypeVar

from ...wire import Error
from ..asyncio_driver import AsyncioDriver
from ..attempts import Attempts
from ..call import Call
from ..errors import NoAnswer
from ..questions import Question
from ..timeouts import checked_timeout
from .outputs import OutputAsker
from .transactions import TransactionAsker

T = TypeVar("T")


class Retrying(TransactionAsker, OutputAsker):
    """Asks each question until it is answered, or asking again makes no sense, or the time is over.

    timeout: seconds an attempt may take where the operation is given none. within: seconds for all attempts."""

    def __init__(self, driver: AsyncioDriver, timeout: float, within: float) -> None:
        self._driver = driver
        self._timeout = timeout
        self._end = time.monotonic() + checked_timeout(within)

    async def _ask(self, question: Question[T], timeout: float | None) -> T:
        call, seconds = question.call, self._timeout if timeout is None else checked_timeout(timeout)
        if call.settled:
            return question.read(call)
        attempts = Attempts(call)
        await self._attempt(attempts, call, seconds)
        while (again := await self._next(attempts)) is not None:
            try:
                await self._attempt(attempts, again, seconds)
            except NoAnswer as closed:  # by now
                attempts.end(Error(closed.code, closed.executed, closed.message))
        return question.read(attempts.settle())

    async def _attempt(self, attempts: Attempts, call: Call, seconds: float) -> None:
        call.deadline = min(time.monotonic() + seconds, self._end)
        attempts.take(await self._driver.ask(call), time.monotonic(), random())  # noqa: S311 (no secret)

    async def _next(self, attempts: Attempts) -> Call | None:
        due = attempts.due
        if due is None or due >= self._end:
            return None
        await self._driver.pause(due - time.monotonic())
        return attempts.next() if time.monotonic() < self._end else None
