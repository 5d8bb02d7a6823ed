"""Feeds transactions to a daemon as a node would: each one's parents looked up, all its inputs spent as one
transaction, then created; many at a time, and none before those of its parents that are under way.

A transaction whose spends were refused is not created; one whose creation is refused for good gives back what was spent
for it. A fault is asked again (asking again is safe: the same spender may spend again, and what exists is not created
twice). Every answer is counted, and what did not go in is named.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, NamedTuple

from protocol import AsyncClient, CreateItem, Outcome, Outpoint, Spend, UtxodError, codes, utxo_hash
from store.transaction import Transaction

from .needs import Needs

TIMEOUT_SECONDS: Final = 10.0  # of each question
# A fault is asked again so often, after the time its answer names or this, doubled every time.
ATTEMPTS: Final = 6
FIRST_PAUSE_SECONDS: Final = 0.05


class Fate(StrEnum):
    """What became of a transaction."""

    CREATED = "created"
    EXISTED = "existed"
    REFUSED = "refused"  # a spend, or the creation, was rejected
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
    not_in: list[NotIn] = field(default_factory=list)  # the first few of each kind
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)  # of these: by fate, and code of the answer
    needs: Needs = field(default_factory=Needs)  # of those that were larger than the daemon takes

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
                item = CreateItem.partial(txid, outputs, block_height=height, mined=[(height, height, 0)])
                verdict = await self._create(item)
                if verdict.fate not in IN:
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
            verdict = await self._judge(transaction, height, block_id)
            self.tally.fates[verdict.fate] += 1
            if verdict.fate not in IN:
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

    async def _judge(self, transaction: Transaction, height: int, block_id: int | None) -> Verdict:
        spends = [] if transaction.is_coinbase else await self._spends(transaction, height)
        if isinstance(spends, Verdict):
            return spends
        fault, applied = await self._spend(spends) if spends else (None, [])
        if fault is not None:
            if fault.fate is Fate.REFUSED and (applied or fault.code == codes.TOO_LARGE):
                return await self._refused(transaction, fault, Needs.of_spends(transaction), applied, len(applied))
            return fault
        mined = () if block_id is None else [(block_id, height, 0)]
        verdict = await self._create(CreateItem.whole(transaction.raw, block_height=height, mined=mined))
        if verdict.fate is Fate.REFUSED:
            needs = Needs.of_creation(transaction)
            return await self._refused(transaction, verdict, needs, applied, len(spends))
        if verdict.fate is Fate.FAILED and spends:
            return verdict._replace(why=f"{verdict.why}; its spends stand, and it can be fed again")
        return verdict

    async def _refused(
        self, transaction: Transaction, verdict: Verdict, needs: Needs, applied: Sequence[Spend], count: int
    ) -> Verdict:
        """It was refused for good, after `count` spends; it may be in the set all the same, by a daemon that takes
        more."""
        txids = [transaction.txid]
        (found,) = await self._ask("get", lambda: self._client.get_many(txids, ["txID"], timeout=TIMEOUT_SECONDS), 1)
        if found.ok:
            return Verdict(Fate.EXISTED)
        why = verdict.why
        if verdict.code == codes.TOO_LARGE:
            self.tally.needs = self.tally.needs.combined_with(needs)
            why = f"{why}; it needs {', '.join(needs.settings())}"
        if found.code != codes.TX_NOT_FOUND:
            return verdict._replace(why=f"{why}; its spends may stand")
        return verdict._replace(why=why + await self._give_back(applied, count))

    async def _spends(self, transaction: Transaction, height: int) -> list[Spend] | Verdict:
        """Those of all its inputs, by the outputs as they are in the set."""
        outpoints = [(spent.previous_txid, spent.previous_vout) for spent in transaction.inputs]
        outputs = await self._ask(
            "outpoint", lambda: self._client.outpoint_many(outpoints, timeout=TIMEOUT_SECONDS), len(outpoints)
        )
        absent = [outpoint for outpoint, output in zip(outpoints, outputs, strict=True) if output.code in _ABSENT]
        if absent:
            return self._orphaned(absent)
        for output in outputs:
            if output.error:
                return _verdict(output.error)
        return [
            spend_of(outpoint, output.result, transaction.txid, vin, height)
            for vin, (outpoint, output) in enumerate(zip(outpoints, outputs, strict=True))
        ]

    def _orphaned(self, absent: Sequence[tuple[bytes, int]]) -> Verdict:
        self.tally.missing_parents.update(txid for txid, _ in absent if txid not in self._not_in)
        for txid, _ in absent:
            if self._not_in.get(txid, Fate.ORPHAN) is not Fate.ORPHAN:
                return Verdict(Fate.PARENT_FAILED, why=f"{_shown(txid)}, which it spends, did not go in")
        txid, vout = absent[0]
        return Verdict(Fate.ORPHAN, why=f"output {vout} of {_shown(txid)}, which it spends, is not in the set")

    async def _spend(self, spends: Sequence[Spend]) -> tuple[Verdict | None, list[Spend]]:
        """None where all of them stand now; and those that this feeder applied, or may have."""
        in_doubt = False

        async def question() -> list[Outcome[bool]]:
            nonlocal in_doubt
            try:
                return [Outcome(now) for now in await self._client.spend_transaction(spends, timeout=TIMEOUT_SECONDS)]
            except UtxodError as error:
                in_doubt = in_doubt or error.executed == codes.UNKNOWN
                raise

        outcomes = await self._ask("spend", question, len(spends))
        if error := outcomes[0].error:
            verdict = _verdict(error)
            if verdict.fate is Fate.FAILED and in_doubt:
                verdict = verdict._replace(why=f"{verdict.why}; its spends may stand, and it can be fed again")
            elif held := error.details.get("held"):
                verdict = verdict._replace(why=f"{verdict.why}; {len(held)} of its spends stand, from before")
            return verdict, list(spends) if in_doubt else []
        now = sum(outcome.result for outcome in outcomes)
        self.tally.spent_now += now
        self.tally.spent_before += len(outcomes) - now
        return None, [spend for spend, outcome in zip(spends, outcomes, strict=True) if outcome.result or in_doubt]

    async def _give_back(self, applied: Sequence[Spend], count: int) -> str:
        """Of the `count` spends of a transaction that will not be, undoes those that were applied. What another
        submitter was told it has is not ours to undo (P12). Returns in words what became of them."""
        if not count:
            return ""
        if applied:
            outcomes = await self._ask(
                "unspend", lambda: self._client.unspend_many(applied, timeout=TIMEOUT_SECONDS), len(applied)
            )
            gone = codes.SPENT  # by another meanwhile: nothing is left to give back
            stand = [outcome.code for outcome in outcomes if outcome.error and outcome.code != gone]
            if stand:
                return f"; {len(stand)} of its spends may stand, they could not be given back: {stand[0]}"
        before = count - len(applied)
        return "; its spends were given back" if not before else f"; {before} of its spends stand, from before"

    async def _create(self, item: CreateItem) -> Verdict:
        (outcome,) = await self._ask("create", lambda: self._client.create_many([item], timeout=TIMEOUT_SECONDS), 1)
        if outcome.error is None:
            return Verdict(Fate.CREATED)
        return Verdict(Fate.EXISTED) if outcome.code == codes.TX_EXISTS else _verdict(outcome.error)

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


def _verdict(error: UtxodError) -> Verdict:
    """On a transaction that met an error that did not go away."""
    return Verdict(Fate.REFUSED if error.code in _FINAL else Fate.FAILED, error.code, str(error))


def _shown(txid: bytes) -> str:
    return txid[::-1].hex()


def spend_of(outpoint: tuple[bytes, int], output: Outpoint, spending_txid: bytes, vin: int, height: int) -> Spend:
    """The spend of an output by input `vin` of `spending_txid`."""
    txid, vout = outpoint
    hash_ = utxo_hash(txid, vout, output.locking_script, output.satoshis)
    return Spend(txid, vout, hash_, spending_txid, vin, height)
