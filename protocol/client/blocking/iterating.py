# Generated from its twin by `python -m tests.protocol.generate_blocking`: change that, and run this.
"""Asks for a long input, some batches at a time."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, TypeVar

from ...wire import Error
from ..batches import Batches
from ..call import Call
from ..errors import NoAnswer
from ..questions import Question
from ..results import Outcome
from ..thread_driver import ThreadDriver
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

    def _ask(self, question: Question[T], timeout: float | None) -> Any:
        question.call.deadline = time.monotonic() + (self._timeout if timeout is None else checked_timeout(timeout))
        return question


def iterate(
    prepare: Callable[[list[Any]], Question[list[Outcome[T]]]], driver: ThreadDriver, items: Iterable[Any]
) -> Generator[Outcome[T], None, None]:
    """The outcomes of the items, in order. prepare: makes a question of a batch."""
    batches = Batches(items)
    under_way: deque[Question[list[Outcome[T]]]] = deque()
    try:
        while not batches.over or under_way:
            # An input that gives no full batch is slower than the daemon: its outcomes come first.
            while not batches.over and len(under_way) < AHEAD and (batches.full or not under_way):
                if batch := batches.next():
                    under_way.append(prepare(batch))
                    _begin(under_way[-1].call, driver, batches)
                    driver.pause(0)
            if under_way:
                call = under_way[0].call
                answered = call if call.settled else driver.ask(call)
                driver.drop(call)
                yield from under_way.popleft().read(answered)
        if batches.failure is not None:
            raise batches.failure
    finally:
        for question in under_way:
            driver.drop(question.call)


def _begin(call: Call, driver: ThreadDriver, batches: Batches) -> None:
    if call.settled:  # there is nothing to ask
        return
    try:
        driver.begin(call)
    except NoAnswer as closed:
        call.fail(Error(closed.code, closed.executed, closed.message))
        batches.end(closed)
