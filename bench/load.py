"""Load: many callers ask at once, for a time or until nothing is left to ask; what is answered is counted."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from protocol import Outcome

SINGLE_CALLERS: Final = 64
REQUESTS_IN_FLIGHT: Final = 16
MANY: Final = 100
# Of a call: on a machine that is busy no deadline is to answer in place of the daemon.
PATIENT_SECONDS: Final = 60.0

Question = Callable[[Any], Awaitable[list[Outcome[Any]]]]


async def ask_many(
    question: Question, requests: Iterable[Any], seconds: float | None = None, in_flight: int = REQUESTS_IN_FLIGHT
) -> tuple[float, list[Any]]:
    """(items per second, all outcomes). requests: what is asked, one after the other, `in_flight` at a time. seconds:
    until then; None: until the requests are at their end."""
    source = iter(requests)
    outcomes: list[Outcome[Any]] = []
    started = time.perf_counter()
    until = started + seconds if seconds is not None else float("inf")

    async def caller() -> None:
        for request in source:
            outcomes.extend(await question(request))
            if time.perf_counter() >= until:
                return

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return len(outcomes) / (time.perf_counter() - started), outcomes


async def ask_singles(
    question: Callable[[Any], Awaitable[Any]], keys: Sequence[Any], seconds: float
) -> tuple[float, int]:
    """(items per second, answers that were not what `question` wanted); 64 tasks, each with one item at a time, and one
    at least."""
    source = itertools.cycle(keys)
    asked = wrong = 0
    started = time.perf_counter()
    until = started + seconds

    async def caller() -> None:
        nonlocal asked, wrong
        while True:
            asked += 1
            wrong += not await question(next(source))
            if time.perf_counter() >= until:
                return

    await asyncio.gather(*(caller() for _ in range(SINGLE_CALLERS)))
    return asked / (time.perf_counter() - started), wrong


def ask_from_threads(
    question: Callable[[Any], bool], keys: Sequence[Any], seconds: float, callers: int = SINGLE_CALLERS
) -> tuple[float, int]:
    """As `ask_singles`, with threads. Each has asked once before the time begins: what it makes for itself at first, a
    connection say, is not what is measured. Raises what `question` raises."""
    asked = [0] * callers
    wrong = [0] * callers
    failures: list[BaseException] = []
    ready = threading.Barrier(callers + 1)

    def caller(index: int) -> None:
        source = itertools.cycle(keys[index::callers] or keys)
        try:
            wrong[index] += not question(next(source))
            ready.wait()
            until = time.perf_counter() + seconds
            while True:
                asked[index] += 1
                wrong[index] += not question(next(source))
                if time.perf_counter() >= until:
                    return
        except BaseException as error:
            failures.append(error)
            ready.abort()

    # Where Ctrl-C comes, nobody answers them any more: they must not keep the process from ending.
    threads = [threading.Thread(target=caller, args=(index,), daemon=True) for index in range(callers)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(asked) / (time.perf_counter() - started), sum(wrong)


def expect_ok(outcomes: Iterable[Outcome[Any]]) -> None:
    """Raises the first error, where there is one: what is measured was not prepared."""
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error


def batched(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
