"""multiprocessing.Pool: the same question asked of two processes that answer from memory, one call at a time each of 64
threads. What Python itself offers for work in other processes."""

import contextlib
import multiprocessing.pool
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from typing import Any, Final

from ..load import ask_from_threads
from ..processes import follow_parent

PROCESSES: Final = 2
NAME: Final = f"multiprocessing.Pool({PROCESSES}), 64 threads"
Processes = multiprocessing.pool.Pool
_ANSWER: Final = {"totalUtxos": 2}


@contextlib.contextmanager
def pool() -> Iterator[Processes]:
    """Its processes are ready, and end with the context."""
    with get_context("spawn").Pool(PROCESSES, follow_parent) as processes:
        processes.apply(answer, (b"",))  # they are up
        yield processes


def calls_per_second(processes: Processes, txids: Sequence[bytes], seconds: float) -> float:
    rate, _ = ask_from_threads(lambda txid: processes.apply(answer, (txid,)) == _ANSWER, txids, seconds)
    return rate


def answer(txid: bytes) -> dict[str, Any]:
    """One field of the record, as the null store has it."""
    return _ANSWER
