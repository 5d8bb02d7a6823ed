"""Asks for a long input, some batches at a time. Its twin is generated: tests/protocol/generate_blocking.py."""

import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

from ..asyncio_driver import AsyncioDriver
from ..batches import Batches
from ..errors import NoAnswer
from ..questions import Question
from ..results import Outcome
from ..timeouts import checked_timeout
from .outputs import OutputAsker
from .transactions import TransactionAsker

T = TypeVar("T")

AHEAD: Final = 4  # batches under way, or answered and not taken yet


class Beginning(TransactionAsker, OutputAsker):
    """Begins each question, and gives it back in place of its answer. timeout: seconds, where the operation is given
    none. kept: what is not to be dropped meanwhile."""

    def __init__(self, driver: AsyncioDriver, timeout: float, kept: object) -> None:
        self._driver = driver
        self._timeout = timeout
        self._kept = kept

    async def _ask(self, question: Question[T], timeout: float | None) -> Any:
        call = question.call
        call.deadline = time.monotonic() + (self._timeout if timeout is None else checked_timeout(timeout))
        if not call.settled:
            self._driver.begin(call)
        return question


async def iterate(
    begin: Callable[[list[Any]], Awaitable[Question[list[Outcome[T]]]]], driver: AsyncioDriver, items: Iterable[Any]
) -> AsyncGenerator[Outcome[T], None]:
    """The outcomes of the items, in order. begin: begins a batch."""
    batches = Batches(items)
    under_way: deque[Question[list[Outcome[T]]]] = deque()
    try:
        while not batches.over or under_way:
            while not batches.over and len(under_way) < AHEAD and not (under_way and under_way[0].call.settled):
                if batch := batches.next():
                    try:
                        under_way.append(await begin(batch))
                    except NoAnswer as closed:
                        batches.end(closed)
                    await driver.pause(0)
            if under_way:
                call = under_way[0].call
                answered = call if call.settled else await driver.ask(call)
                driver.drop(call)
                for outcome in under_way.popleft().read(answered):
                    yield outcome
        if batches.failure is not None:
            raise batches.failure
    finally:
        for question in under_way:
            driver.drop(question.call)
