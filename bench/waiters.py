"""Callers in processes of their own: each asks one thing, once, and waits; all at the same moment."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

from protocol import AsyncClient, CreateItem, Spend, UtxodError, utxo_hash
from protocol.codes import OK, TX_EXISTS, UNKNOWN
from store.layout import TXID_BYTES

PROCESSES: Final = 4
# What a waiter's timeout is, by its number; seconds.
TIMEOUTS: Final = (1.0, 3.0, 8.0)
PATIENT: Final = (60.0,)
HEIGHT: Final = 100
# Two outputs, and so a child record where a record holds one.
OUTPUTS: Final = {0: (1000, b"\x51"), 1: (2000, b"\x52")}
START_SECONDS: Final = 2.0  # in which the processes start and connect
_CONNECT_SECONDS: Final = 10.0

Ask = Callable[[AsyncClient, bytes, float | None], Awaitable[Any]]


class Answer(NamedTuple):
    """number: of the waiter. over: seconds beyond its deadline, negative where it was before."""

    number: int
    operation: str
    code: str
    executed: str
    over: float


def _spend(txid: bytes) -> Spend:
    satoshis, script = OUTPUTS[1]
    return Spend(txid, 1, utxo_hash(txid, 1, script, satoshis), txid[::-1], 0, HEIGHT)


# The seven of the incident.
ASK: Final[dict[str, Ask]] = {
    "get": lambda client, txid, timeout: client.get(txid, timeout=timeout),
    "spend": lambda client, txid, timeout: client.spend(_spend(txid), timeout=timeout),
    "create": lambda client, txid, timeout: client.create_partial(txid, OUTPUTS, block_height=HEIGHT, timeout=timeout),
    "set_locked": lambda client, txid, timeout: client.set_locked(txid, True, timeout=timeout),
    "outpoint": lambda client, txid, timeout: client.outpoint(txid, 0, timeout=timeout),
    "increment": lambda client, txid, timeout: client.increment(txid, 1, HEIGHT, timeout=timeout),
    "set_dah": lambda client, txid, timeout: client.set_dah(txid, 0, HEIGHT, timeout=timeout),
}
_OPERATIONS: Final = tuple(ASK)
# What asking again says where the first time was executed, although its answer was `unknown`.
_DONE_BEFORE: Final = {"create": TX_EXISTS}


def txid_of(incident: int, number: int) -> bytes:
    """Every waiter has a transaction of its own."""
    return b"%08d%08d" % (incident, number) + bytes(TXID_BYTES - 16)


def prepared(incident: int, waiters: int) -> list[CreateItem]:
    """The transactions that are to be there before."""
    return [
        CreateItem.partial(txid_of(incident, number), OUTPUTS, block_height=HEIGHT)
        for number in range(waiters)
        if _operation(number) != "create"
    ]


def is_settled(answer: Answer) -> bool:
    """Whether the store has it, by what it answered."""
    return answer.code in (OK, _DONE_BEFORE.get(answer.operation))


def may_be_done(answer: Answer) -> bool:
    return answer.code == OK or answer.executed == UNKNOWN


def was_done_before(answer: Answer) -> bool:
    """Whether the store says that it had been asked, and had done it, before."""
    return answer.code == _DONE_BEFORE.get(answer.operation)


@contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """The processes of the callers: ended with the context."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        yield pool


def start_all(
    pool: ProcessPoolExecutor, endpoint: str, incident: int, numbers: Sequence[int], timeouts: tuple[float, ...]
) -> asyncio.Future[list[list[Answer]]]:
    """Concurrent calls of these waiters, START_SECONDS from now. The future gives each process's answers."""
    loop = asyncio.get_running_loop()
    begin = time.monotonic() + START_SECONDS
    return asyncio.gather(
        *(
            loop.run_in_executor(pool, _wait_together, endpoint, incident, numbers[first::PROCESSES], timeouts, begin)
            for first in range(PROCESSES)
        )
    )


def by_code(answers: list[Answer]) -> dict[str, dict[str, int]]:
    """Operation -> code and executed -> how many."""
    table: dict[str, Counter[str]] = {operation: Counter() for operation in ASK}
    for answer in answers:
        table[answer.operation][f"{answer.code} {answer.executed}".strip()] += 1
    return {operation: dict(sorted(counts.items())) for operation, counts in table.items()}


def _operation(number: int) -> str:
    return _OPERATIONS[number % len(_OPERATIONS)]


def _timeout(number: int, timeouts: tuple[float, ...]) -> float:
    return timeouts[number // len(_OPERATIONS) % len(timeouts)]


def _wait_together(
    endpoint: str, incident: int, numbers: Sequence[int], timeouts: tuple[float, ...], begin: float
) -> list[Answer]:
    return asyncio.run(_ask_all(endpoint, incident, numbers, timeouts, begin))


async def _ask_all(
    endpoint: str, incident: int, numbers: Sequence[int], timeouts: tuple[float, ...], begin: float
) -> list[Answer]:
    async with AsyncClient(endpoint) as client:
        await client.status(timeout=_CONNECT_SECONDS)
        await asyncio.sleep(begin - time.monotonic())
        return await asyncio.gather(*(_ask(client, incident, number, _timeout(number, timeouts)) for number in numbers))


async def _ask(client: AsyncClient, incident: int, number: int, timeout: float) -> Answer:
    operation = _operation(number)
    code, executed = OK, ""
    asked = time.monotonic()
    try:
        await ASK[operation](client, txid_of(incident, number), timeout)
    except UtxodError as error:
        code, executed = error.code, error.executed
    return Answer(number, operation, code, executed, time.monotonic() - asked - timeout)
