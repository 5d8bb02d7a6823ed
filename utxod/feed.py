"""Feeds transactions to a daemon as a node would: each one's parents looked up, all its inputs spent as one
transaction, then created; many at a time, and none before those of its parents that are under way.

A transaction whose spends were refused is not created. A fault is asked again (asking again is safe: the same spender
may spend again, and what exists is not created twice). Every answer is counted.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Final

from protocol import codes
from protocol.aio import AsyncClient
from protocol.errors import UtxodError
from protocol.items import CreateItem, Outcome, Outpoint, Spend, utxo_hash
from store.transaction import Transaction

# A fault is asked again so often, after the time its answer names or this, doubled every time.
ATTEMPTS: Final = 6
FIRST_PAUSE_SECONDS: Final = 0.05


class Fate(StrEnum):
    """What became of a transaction."""

    CREATED = "created"
    EXISTED = "existed"
    REFUSED = "refused"  # a spend, or the creation, was rejected
    ORPHAN = "orphan"  # an output it spends is not in the set
    FAILED = "failed"  # a fault that did not go away


@dataclass(slots=True)
class Tally:
    """Items and their answers. An item that is asked again is submitted again."""

    submitted: Counter[str] = field(default_factory=Counter)  # by operation
    ok: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)  # by code
    faults: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    spent_now: int = 0
    spent_before: int = 0
    missing_parents: set[bytes] = field(default_factory=set)
    fates: Counter[str] = field(default_factory=Counter)  # of transactions

    def count(self, operation: str, outcomes: Sequence[Outcome[Any]]) -> None:
        self.submitted[operation] += len(outcomes)
        for outcome in outcomes:
            if outcome.ok:
                self.ok[operation] += 1
            elif outcome.code in codes.REJECTIONS:
                self.rejected[outcome.code] += 1
            elif outcome.code == codes.NO_ANSWER:
                self.unanswered += 1
            else:
                self.faults[outcome.code] += 1

    @property
    def items(self) -> int:
        return self.submitted.total()


class Feeder:
    """Feeds one transaction after the other, in an order in which parents stand before children.

    window: transactions under way at once. timeout: of each question, in seconds. done: called with each transaction
    when its fate is known. Leaving the context waits for all that is under way.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        window: int = 256,
        timeout: float = 10.0,
        done: Callable[[Transaction, Fate], None] = lambda transaction, fate: None,
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._timeout = timeout
        self._window = window
        self._slots = asyncio.Semaphore(window)
        self._done = done
        self._under_way: dict[bytes, asyncio.Future[None]] = {}
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
                await self._create(CreateItem.partial(txid, outputs, block_height=height, mined=[(height, height, 0)]))
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
            fate = await self._judge(transaction, height, block_id)
            self.tally.fates[fate] += 1
            self._done(transaction, fate)
        finally:
            finished.set_result(None)
            if self._under_way.get(transaction.txid) is finished:
                del self._under_way[transaction.txid]
            self._slots.release()

    async def _judge(self, transaction: Transaction, height: int, block_id: int | None) -> Fate:
        if not transaction.is_coinbase:
            fate = await self._spend(transaction, height)
            if fate is not None:
                return fate
        mined = () if block_id is None else [(block_id, height, 0)]
        return await self._create(CreateItem.whole(transaction.raw, block_height=height, mined=mined))

    async def _spend(self, transaction: Transaction, height: int) -> Fate | None:
        """None: all inputs are spent by this transaction now."""
        outpoints = [(spent.previous_txid, spent.previous_vout) for spent in transaction.inputs]
        parents = await self._ask(
            "outpoint", lambda: self._client.outpoint_many(outpoints, timeout=self._timeout), len(outpoints)
        )
        if any(parent.error for parent in parents):
            absent = [txid for (txid, _), parent in zip(outpoints, parents, strict=True) if parent.code in _ABSENT]
            self.tally.missing_parents.update(absent)
            return Fate.ORPHAN if absent else Fate.FAILED
        spends = [
            spend_of(outpoint, parent.result, transaction.txid, vin, height)
            for vin, (outpoint, parent) in enumerate(zip(outpoints, parents, strict=True))
        ]
        applied = await self._ask("spend", lambda: self._spend_all(spends), len(spends))
        if error := applied[0].error:
            return Fate.REFUSED if error.code in codes.REJECTIONS else Fate.FAILED
        now = sum(spend.result for spend in applied)
        self.tally.spent_now += now
        self.tally.spent_before += len(applied) - now
        return None

    async def _spend_all(self, spends: list[Spend]) -> list[Outcome[bool]]:
        return [Outcome(applied) for applied in await self._client.spend_transaction(spends, timeout=self._timeout)]

    async def _create(self, item: CreateItem) -> Fate:
        (outcome,) = await self._ask("create", lambda: self._client.create_many([item], timeout=self._timeout), 1)
        if outcome.ok:
            return Fate.CREATED
        if outcome.code == codes.TX_EXISTS:
            return Fate.EXISTED
        return Fate.REFUSED if outcome.code in codes.REJECTIONS else Fate.FAILED

    async def _ask(
        self, operation: str, question: Callable[[], Awaitable[list[Outcome[Any]]]], count: int
    ) -> list[Outcome[Any]]:
        """The answers; a question that met a fault, or a creation under way, is asked again."""
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(ATTEMPTS):
            try:
                outcomes = await question()
            except UtxodError as error:
                outcomes = [Outcome[Any](None, error)] * count
            self.tally.count(operation, outcomes)
            again = [outcome.error for outcome in outcomes if outcome.error and outcome.code not in _FINAL]
            if not again or attempt + 1 == ATTEMPTS:
                break
            await asyncio.sleep(max(error.retry_after or pause for error in again))
            pause *= 2
        return outcomes


# Asking again would be answered the same.
_FINAL: Final = (codes.REJECTIONS - {codes.CREATING}) | {codes.BAD_REQUEST, codes.TOO_LARGE, codes.UNSUPPORTED}
_ABSENT: Final = (codes.TX_NOT_FOUND, codes.UTXO_NOT_FOUND, codes.UTXOS_NOT_FOUND)


def spend_of(outpoint: tuple[bytes, int], output: Outpoint, spending_txid: bytes, vin: int, height: int) -> Spend:
    """The spend of an output by input `vin` of `spending_txid`."""
    txid, vout = outpoint
    hash_ = utxo_hash(txid, vout, output.locking_script, output.satoshis)
    return Spend(txid, vout, hash_, spending_txid, vin, height)
