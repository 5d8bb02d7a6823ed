"""Futures, for callers that have something else to do than to wait. It has no twin: asyncio has its tasks."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from ..errors import UtxodError
from ..questions import Question
from ..thread_driver import ThreadDriver
from ..timeouts import checked_timeout
from .asker import same_of
from .outputs import OutputAsker
from .transactions import TransactionAsker

P = ParamSpec("P")
T = TypeVar("T")


class Submitting(TransactionAsker, OutputAsker):
    """Gives each question's future in place of its answer. kept: what is not to be dropped while one is open."""

    def __init__(self, driver: ThreadDriver, timeout: float, kept: object) -> None:
        self._driver = driver
        self._timeout = timeout
        self._kept = kept

    def _ask(self, question: Question[T], timeout: float | None) -> Any:
        seconds = self._timeout if timeout is None else checked_timeout(timeout)
        question.call.deadline = time.monotonic() + seconds
        return self._driver.promises.ask(question, self._kept)


class Submitter(TransactionAsker, OutputAsker):
    """The part of the blocking client that gives futures."""

    _driver: ThreadDriver
    _timeout: float

    def submit(self, method: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> "Future[T]":
        """Asks as the method does, and does not wait: `client.submit(client.spend, spend).result()`.

        method: of this client, one that asks the daemon. arguments, options: its own.

        Returns a future of what the method would return or raise. It is settled by the call's timeout plus the client's
        grace, and half a second where nothing that drives the client gets to run; closing the client settles it at
        once. It can't be cancelled: what it asks may have been sent. What is added to it with add_done_callback runs in
        a thread of the client's that settles all futures, one after the other, or in the one that closes it: it is to
        be quick, to ask with `submit`, and not to wait for another future, which nobody would settle meanwhile. Futures
        are not settled in the copy of a client that a fork makes.

        Raises TypeError where `method` is not such a method, and RuntimeError where no thread can be started.
        """
        asker = Submitting(self._driver, self._timeout, self)
        try:
            future: Future[T] = same_of(asker, self, method)(*arguments, **options)
        except UtxodError as error:
            future = Future()
            future.set_exception(error)
        return future
