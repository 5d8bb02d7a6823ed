"""Work that Ctrl-C, SIGTERM or SIGHUP interrupts ends in its own order: its task is cancelled.

A second such signal ends it at once: what it was still waiting for is cancelled, too, and so is a write to a terminal
or a pipe that takes nothing. A signal that is ignored (as nohup does) stays ignored.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Collection, Coroutine, Iterator
from typing import Any, Final, TypeVar

from .exits import forget_held_output

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")


def run_to_an_end(work: Coroutine[Any, Any, T]) -> tuple[T, int]:
    """In the main thread. The result, and the number of the signal that cancelled the work, 0 where none did.

    Raises SystemExit, with 128 and the signal's number, where there was no result any more.
    """
    came: list[int] = []

    async def told() -> T:
        with _cancelled_by_signals(came):
            return await work

    try:
        return asyncio.run(told()), came[0] if came else 0
    except asyncio.CancelledError:
        raise SystemExit(128 + came[0]) from None


@contextlib.contextmanager
def _cancelled_by_signals(came: list[int]) -> Iterator[None]:
    """The running task, meanwhile. came: the numbers of those that came."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def end(number: int, frame: object) -> None:
        came.append(number)
        if len(came) > 1:
            forget_held_output()
        loop.call_soon_threadsafe(cancel, len(came))  # never from amid whatever runs: that alone would be ended

    def cancel(turns: int) -> None:
        """Each signal in a turn of the loop of its own: of two in one turn the task would be told once."""
        if turns > 1:
            loop.call_soon(cancel, turns - 1)
        else:
            task.cancel()

    with handled([number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN], end):
        yield


@contextlib.contextmanager
def handled(signals: Collection[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Within the context these signals call the handler; afterwards they do what they did before. In the main
    thread."""
    before = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
