"""Feeds transactions to a daemon as a node would: each is accepted, with all its spends or not at all; many at a time,
and none before those of its parents that are under way.

What meets a fault is asked again (which is safe: what was accepted is not accepted twice). The last answer to each is
counted, and what did not go in is named.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar

from protocol import AsyncClient, TxExists, UtxodError, codes
from store.transaction import Transaction

from .needs import body_bytes

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 10.0  # of each question
WITHIN_SECONDS: Final = 30.0  # of each question, and all the times that it is asked again


class Fate(StrEnum):
    """What became of a transaction."""

    CREATED = "created"
    EXISTED = "existed"
    REFUSED = "refused"  # it was rejected
    ORPHAN = "orphan"  # an output it spends is not in the set
    PARENT_FAILED = "parent_failed"  # nor could it be: it is of a transaction that did not go in either
    FAILED = "failed"  # a fault that did not go away


IN: Final = frozenset({Fate.CREATED, Fate.EXISTED})


class NotIn(NamedTuple):
    """A transaction that is not in the set now. txid: wire order. why: in words."""

    txid: bytes
    height: int
    fate: Fate
    why: str


# Of what did not go in, so many of each kind are named.
_NAMED: Final = 5
# Of transactions under way at once; a larger one is under way alone.
_MAX_BYTES: Final = 64 << 20


@dataclass(slots=True)
class Tally:
    """Questions and the last answer to each."""

    submitted: Counter[str] = field(default_factory=Counter)  # by operation
    ok: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)  # by code
    faults: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    inputs: Counter[str] = field(default_factory=Counter)  # by fate, of the transactions that went in
    missing_parents: set[bytes] = field(default_factory=set)
    seeded: int = 0  # made-up parents that are in the set now
    fates: Counter[str] = field(default_factory=Counter)  # of transactions
    not_in: list[NotIn] = field(default_factory=list)  # the first few of each kind
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)  # of these: by fate, and code of the answer
    body_bytes: int = 0  # that the daemon should take, for those that were too large

    def count(self, operation: str, code: str) -> None:
        self.submitted[operation] += 1
        if code == codes.OK:
            self.ok[operation] += 1
        elif code in codes.REJECTIONS:
            self.rejected[code] += 1
        elif code == codes.NO_ANSWER:
            self.unanswered += 1
        else:
            self.faults[code] += 1

    def name(self, txid: bytes, height: int, verdict: "Verdict") -> None:
        """It did not go in."""
        kind = verdict.fate, verdict.code
        self.kinds[kind] += 1
        if self.kinds[kind] <= _NAMED:
            self.not_in.append(NotIn(txid, height, verdict.fate, verdict.why))

    @property
    def items(self) -> int:
        return self.submitted.total()


class Verdict(NamedTuple):
    """What became of a transaction. Where it did not go in: the code of the answer that decided it, and why, in
    words."""

    fate: Fate
    code: str = codes.OK
    why: str = ""


class Feeder:
    """Feeds one transaction after the other, in an order in which parents stand before children.

    window: transactions under way at once (fewer where they are large). done: called with each transaction when its
    fate is known. Leaving the context waits for all that is under way.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        window: int = 256,
        done: Callable[[Transaction, Fate], None] = lambda transaction, fate: None,
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._window = window
        self._slots = asyncio.Semaphore(window)
        self._done = done
        self._under_way: dict[bytes, asyncio.Future[None]] = {}
        self._bytes = 0  # of all under way
        self._fewer = asyncio.Event()  # since it was last cleared
        self._not_in: dict[bytes, Fate] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> "Feeder":
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._tasks.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            raise error or group.exceptions[0] from None  # the caller's own error, as it was raised

    async def feed(self, transaction: Transaction, height: int, block_id: int | None = None) -> None:
        """Returns when it is under way. height: of the block it is in. block_id: None where it is in none."""
        await self._slots.acquire()
        while self._bytes and self._bytes + transaction.size > _MAX_BYTES:
            self._fewer.clear()
            await self._fewer.wait()
        self._bytes += transaction.size
        finished = asyncio.get_running_loop().create_future()
        parents = {spent.previous_txid for spent in transaction.inputs}
        before = [self._under_way[txid] for txid in parents if txid in self._under_way]
        self._under_way[transaction.txid] = finished
        self._tasks.create_task(self._run(transaction, height, block_id, before, finished))

    async def seed(self, txid: bytes, outputs: dict[int, tuple[int, bytes]], height: int) -> None:
        """Create a transaction of which only these outputs are known; returns when it is under way."""
        await self._slots.acquire()

        async def create() -> None:
            try:
                mined = [(height, height, 0)]
                with contextlib.suppress(TxExists):
                    await self._ask(
                        "create", self._client.create_partial, txid, outputs, block_height=height, mined=mined
                    )
                self.tally.seeded += 1
            except UtxodError as error:
                verdict = _verdict(error)
                self.tally.name(txid, height, verdict._replace(why=f"made up, as a parent; {verdict.why}"))
            finally:
                self._slots.release()

        self._tasks.create_task(create())

    async def settle(self) -> None:
        """Returns when nothing is under way."""
        for _ in range(self._window):
            await self._slots.acquire()
        for _ in range(self._window):
            self._slots.release()

    async def _run(
        self,
        transaction: Transaction,
        height: int,
        block_id: int | None,
        before: list[asyncio.Future[None]],
        finished: asyncio.Future[None],
    ) -> None:
        try:
            if before:
                await asyncio.wait(before)
            verdict = await self._accept(transaction, height, () if block_id is None else [(block_id, height, 0)])
            self.tally.fates[verdict.fate] += 1
            if verdict.fate in IN:
                self.tally.inputs[verdict.fate] += 0 if transaction.is_coinbase else len(transaction.inputs)
            else:
                self._not_in[transaction.txid] = verdict.fate
                self.tally.name(transaction.txid, height, verdict)
            self._done(transaction, verdict.fate)
        finally:
            finished.set_result(None)
            if self._under_way.get(transaction.txid) is finished:
                del self._under_way[transaction.txid]
            self._bytes -= transaction.size
            self._fewer.set()
            self._slots.release()

    async def _accept(self, transaction: Transaction, height: int, mined: Sequence[tuple[int, int, int]]) -> Verdict:
        try:
            accepted = await self._ask("accept", self._client.accept, transaction.raw, block_height=height, mined=mined)
        except UtxodError as error:
            if error.code in _ABSENT and "outpoint" in error.details:
                return self._orphaned(transaction, error)
            if error.code == codes.TOO_LARGE:
                return await self._too_large(transaction, error)
            return _verdict(error)
        return Verdict(Fate.CREATED if accepted.created else Fate.EXISTED)

    def _orphaned(self, transaction: Transaction, error: UtxodError) -> Verdict:
        """An output that it spends is not there."""
        absent, vout = error.details["outpoint"]
        if absent not in self._not_in:
            self.tally.missing_parents.add(absent)
        for spent in transaction.inputs:
            txid = spent.previous_txid
            if self._not_in.get(txid, Fate.ORPHAN) is not Fate.ORPHAN:
                why = f"{_shown(txid)}, which it spends, did not go in"
                return Verdict(Fate.PARENT_FAILED, error.code, why + _standing(error))
        why = f"output {vout} of {_shown(absent)}, which it spends, is not in the set"
        return Verdict(Fate.ORPHAN, error.code, why + _standing(error))

    async def _too_large(self, transaction: Transaction, error: UtxodError) -> Verdict:
        """It may be in the set all the same, by a daemon that takes more."""
        needed = body_bytes(transaction)
        try:
            await self._ask("get", self._client.get, transaction.txid, ["txID"])
        except UtxodError:
            self.tally.body_bytes = max(self.tally.body_bytes, needed)
            return _verdict(error)._replace(why=f"{error}; it needs broker.max_body_bytes={needed}")
        return Verdict(Fate.EXISTED)

    async def _ask(self, operation: str, method: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """Again while that is safe and may help."""
        options |= {"timeout": TIMEOUT_SECONDS, "within": WITHIN_SECONDS}
        try:
            result = await self._client.retry(method, *arguments, **options)
        except UtxodError as error:
            self.tally.count(operation, error.code)
            raise
        self.tally.count(operation, codes.OK)
        return result


_ABSENT: Final = (codes.TX_NOT_FOUND, codes.UTXO_NOT_FOUND, codes.UTXOS_NOT_FOUND)
# Asking again later would be answered the same.
_FINAL: Final = (codes.REJECTIONS - {codes.CREATING, codes.ABANDONED}) | {
    codes.BAD_REQUEST,
    codes.TOO_LARGE,
    codes.UNSUPPORTED,
}


def _verdict(error: UtxodError) -> Verdict:
    """On a transaction that met an error that did not go away."""
    fate = Fate.REFUSED if error.code in _FINAL else Fate.FAILED
    return Verdict(fate, error.code, f"{error}{_standing(error)}")


def _standing(error: UtxodError) -> str:
    """In words, which of its spends stand though it is not in the set."""
    if error.executed == codes.UNKNOWN:
        return "; its spends may stand, and it can be fed again"
    held = error.details.get("held")
    return f"; {len(held)} of its spends stand, from before" if held else ""


def _shown(txid: bytes) -> str:
    return txid[::-1].hex()
