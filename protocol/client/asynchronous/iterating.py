"""Asks for a long input, some batches at a time. Its twin is generated: tests/protocol/generate_blocking.py."""

import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

from ...wire import Error
from ..asyncio_driver import AsyncioDriver
from ..batches import Batches
from ..call import Call
from ..errors import NoAnswer
from ..questions import Question
from ..results import Outcome
from ..timeouts import checked_timeout
from .outputs import OutputAsker
from .transactions import TransactionAsker

T = TypeVar("T")

AHEAD: Final = 4  # batches under way, or answered and not taken yet


class Preparing(TransactionAsker, OutputAsker):
    """Gives each question back, ready to be asked, in place of its answer. timeout: seconds, where the operation is
    given none. kept: what is not to be dropped meanwhile."""

    def __init__(self, timeout: float, kept: object) -> None:
        self._timeout = timeout
        self._kept = kept

    async def _ask(self, question: Question[T], timeout: float | None) -> Any:
        question.call.deadline = time.monotonic() + (self._timeout if timeout is None else checked_timeout(timeout))
        return question


async def iterate(
    prepare: Callable[[list[Any]], Awaitable[Question[list[Outcome[T]]]]], driver: AsyncioDriver, items: Iterable[Any]
) -> AsyncGenerator[Outcome[T], None]:
    """The outcomes of the items, in order. prepare: makes a question of a batch."""
    batches = Batches(items)
    under_way: deque[Question[list[Outcome[T]]]] = deque()
    try:
        while not batches.over or under_way:
            # An input that gives no full batch is slower than the daemon: its outcomes come first.
            while not batches.over and len(under_way) < AHEAD and (batches.full or not under_way):
                if batch := batches.next():
                    under_way.append(await prepare(batch))
                    _begin(under_way[-1].call, driver, batches)
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


def _begin(call: Call, driver: AsyncioDriver, batches: Batches) -> None:
    if call.settled:  # there is nothing to ask
        return
    try:
        driver.begin(call)
    except NoAnswer as closed:
        call.fail(Error(closed.code, closed.executed, closed.message))
        batches.end(closed)
