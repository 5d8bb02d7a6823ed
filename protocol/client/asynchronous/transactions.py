"""What can be asked about a transaction as a whole. Its twin is generated: tests/protocol/generate_blocking.py."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...mined_block import MinedBlock
from .. import questions
from ..items import AcceptItem, CreateItem, Increment, MarkLongestChain, SetConflicting, SetDah, SetLocked, SetMined
from ..results import Accepted, Conflict, Incremented, Outcome
from .asker import Asker


class TransactionAsker(Asker):
    """Their conventions: the client's own docstring."""

    async def get(
        self, txid: bytes, fields: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Reads a transaction's master record.

        fields: the names of the bins to read, at most 64 of at most 15 characters each; the name "tx" gives the raw
        transaction, checked against its txid. None: every bin but utxos, inputs and outputs, which may be large.

        Returns the values by name, of those bins only that the record has. Raises TxNotFound.
        """
        return await self._ask(questions.GET.single((txid, fields)), timeout)

    async def get_many(
        self, txids: Iterable[bytes], fields: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> list[Outcome[dict[str, Any]]]:
        """As `get`. txids: one per transaction. fields: the same for each. Returns one outcome per txid, in order."""
        return await self._ask(questions.GET.many([(txid, fields) for txid in txids]), timeout)

    async def accept(
        self,
        raw: bytes,
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        conflicting: bool = False,
        locked: bool = False,
        ignore_conflicting: bool = False,
        ignore_locked: bool = False,
        timeout: float | None = None,
    ) -> Accepted:
        """Brings a transaction into the set: it spends all its inputs and creates its outputs, or does nothing.

        raw: the serialised transaction, standard or extended (BRC-30); where it is standard, the outputs that it spends
        are looked up. block_height: the height it is judged at; of a coinbase, the height of its block. mined: the
        blocks it is in; empty: in none. conflicting, locked: whether it is marked so; what is conflicting spends
        nothing. ignore_conflicting, ignore_locked: whether it may spend outputs of transactions that are marked so.

        Returns whether it was created now or was there, whether it is marked conflicting, and its metadata. Asking
        again gives the same, and completes what an attempt may have left unfinished.

        Raises what `spend` and `create` do, but for TxExists: for a refused input the details name its index by `vin`
        and its output by `outpoint` ([txid, vout]), and by `held` ([txid, vout] each) what the transaction still has.
        Raises Abandoned while it is being abandoned; and TxNotFound where the transaction of an output that it spends
        is not there. Where the error's `executed` is "unknown", some spends may stand (its details list them as
        `outpoints`): ask again, or `abandon` them.
        """
        item = AcceptItem.of(
            raw,
            block_height=block_height,
            mined=mined,
            conflicting=conflicting,
            locked=locked,
            ignore_conflicting=ignore_conflicting,
            ignore_locked=ignore_locked,
        )
        return await self._ask(questions.ACCEPT.single(item), timeout)

    async def accept_many(
        self, transactions: Iterable[AcceptItem], *, timeout: float | None = None
    ) -> list[Outcome[Accepted]]:
        """As `accept`. transactions: `AcceptItem.of` makes one. Their order does not matter where one spends outputs of
        another. Returns one outcome per transaction, in order."""
        return await self._ask(questions.ACCEPT.many(transactions), timeout)

    async def create(
        self,
        raw: bytes,
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        conflicting: bool = False,
        locked: bool = False,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Adds a transaction to the set.

        raw: the serialised transaction, standard or extended (BRC-30). block_height: the height it is judged at; of a
        coinbase, the height of its block. mined: the blocks it is in; empty: in none. conflicting, locked: whether it
        is marked so.

        Returns its metadata: txID, fee (where it is known), sizeInBytes, isCoinbase, totalUtxos, records. Raises
        TxExists; Creating where another creator has not finished; Abandoned while it is being abandoned; Leftover where
        child records of an earlier life of the transaction are there. Asking again completes what an attempt may have
        left unfinished.
        """
        item = CreateItem.whole(raw, block_height=block_height, mined=mined, conflicting=conflicting, locked=locked)
        return await self._ask(questions.CREATE.single(item), timeout)

    async def create_partial(
        self,
        txid: bytes,
        outputs: Mapping[int, tuple[int, bytes]],
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        coinbase: bool = False,
        conflicting: bool = False,
        locked: bool = False,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Adds a transaction of which only some outputs are known.

        txid: the transaction's. outputs: vout -> (satoshis, locking script). coinbase: whether it is one. The rest, the
        result and the errors are those of `create`.
        """
        item = CreateItem.partial(
            txid,
            outputs,
            block_height=block_height,
            mined=mined,
            coinbase=coinbase,
            conflicting=conflicting,
            locked=locked,
        )
        return await self._ask(questions.CREATE.single(item), timeout)

    async def create_many(
        self, creations: Iterable[CreateItem], *, timeout: float | None = None
    ) -> list[Outcome[dict[str, Any]]]:
        """As `create` and `create_partial`. creations: `CreateItem.whole` or `CreateItem.partial` make one. Returns one
        outcome per creation, in order."""
        return await self._ask(questions.CREATE.many(creations), timeout)

    async def set_mined(
        self,
        txid: bytes,
        block: MinedBlock | tuple[int, int, int],
        *,
        block_height: int,
        on_longest_chain: bool = True,
        unset: bool = False,
        timeout: float | None = None,
    ) -> list[int]:
        """Notes that a transaction is in a block, or is no longer.

        block: the block. block_height: the height it is judged at. on_longest_chain: whether the block is on the
        longest chain; with `unset`, whether the transaction still is, by another block. unset: it is in this block no
        longer. Where it is set, the transaction is unlocked, and the call ends when all its records are.

        Returns the ids of the blocks that it is in now. Raises TxNotFound, and Creating while it is being created.
        Where the work on a child record fails, raises that error, with `executed` "unknown": the master record was
        written.
        """
        item = SetMined.of(txid, block, block_height=block_height, on_longest_chain=on_longest_chain, unset=unset)
        return await self._ask(questions.SET_MINED.single(item), timeout)

    async def set_mined_many(
        self, transactions: Iterable[SetMined], *, timeout: float | None = None
    ) -> list[Outcome[list[int]]]:
        """As `set_mined`. transactions: `SetMined.of` makes an item; all of a block in one call. Returns one outcome
        per item, in order."""
        return await self._ask(questions.SET_MINED.many(transactions), timeout)

    async def mark_longest_chain(
        self, txid: bytes, value: bool, *, block_height: int, timeout: float | None = None
    ) -> bool:
        """Notes whether a transaction is on the longest chain.

        value: True: it is. False: it is not, from block_height on, unless it was noted before. block_height: the height
        it is judged at.

        Returns True. Raises TxNotFound, and Rejection INVALID_PARAMETER where it is to be on the longest chain and is
        in no block.
        """
        return await self._ask(questions.MARK_LONGEST_CHAIN.single((txid, value, block_height)), timeout)

    async def mark_longest_chain_many(
        self, marks: Iterable[MarkLongestChain], *, timeout: float | None = None
    ) -> list[Outcome[bool]]:
        """As `mark_longest_chain`. marks: an item each. Returns one outcome per mark, in order."""
        return await self._ask(questions.MARK_LONGEST_CHAIN.many(marks), timeout)

    async def set_locked(self, txid: bytes, value: bool, *, timeout: float | None = None) -> int:
        """Locks or unlocks a transaction, in all its records; it ends when all of them are done.

        value: True: no output of it may be spent. False: they may; a transaction that is finished gets a
        delete-at-height again.

        Returns the number of its child records. Raises TxNotFound. Where the work on a child record fails, raises that
        error, with `executed` "unknown": the master record was written.
        """
        return await self._ask(questions.SET_LOCKED.single((txid, value)), timeout)

    async def set_locked_many(
        self, settings: Iterable[SetLocked], *, timeout: float | None = None
    ) -> list[Outcome[int]]:
        """As `set_locked`. settings: an item each. Returns one outcome per setting, in order."""
        return await self._ask(questions.SET_LOCKED.many(settings), timeout)

    async def set_conflicting(
        self, txid: bytes, value: bool, *, block_height: int, timeout: float | None = None
    ) -> Conflict:
        """Marks a transaction conflicting, or takes the mark away, in all its records; it ends when all are done.

        value: True: it is conflicting: its outputs can't be spent, it may be deleted once the retention is over, and
        its parents note it. False: it is not. block_height: the height it is judged at.

        Returns the outputs of its parents that it has spent, and the transactions that spend from it. Raises
        TxNotFound. Where the work behind the mark fails, raises that error, with `executed` "unknown".
        """
        return await self._ask(questions.SET_CONFLICTING.single((txid, value, block_height)), timeout)

    async def set_conflicting_many(
        self, marks: Iterable[SetConflicting], *, timeout: float | None = None
    ) -> list[Outcome[Conflict]]:
        """As `set_conflicting`. marks: an item each. Returns one outcome per mark, in order."""
        return await self._ask(questions.SET_CONFLICTING.many(marks), timeout)

    async def preserve_until(self, txid: bytes, height: int, *, timeout: float | None = None) -> bool:
        """Keeps a transaction from being deleted.

        height: until which it is kept at least.

        Returns True. Raises TxNotFound.
        """
        return await self._ask(questions.PRESERVE_UNTIL.single((txid, height)), timeout)

    async def preserve_until_many(
        self, settings: Iterable[tuple[bytes, int]], *, timeout: float | None = None
    ) -> list[Outcome[bool]]:
        """As `preserve_until`. settings: (txid, height) each. Returns one outcome per setting, in order."""
        return await self._ask(questions.PRESERVE_UNTIL.many(settings), timeout)

    async def set_dah(self, txid: bytes, child_index: int, height: int, *, timeout: float | None = None) -> bool:
        """Sets the height at which a record may be deleted (its delete-at-height).

        child_index: 0 for the master record, else the number of the child record. height: 0 removes it.

        Returns True. Raises TxNotFound where there is no such record, or Fault STORE_ERROR where the transaction has it
        and it is missing.
        """
        return await self._ask(questions.SET_DAH.single((txid, child_index, height)), timeout)

    async def set_dah_many(self, settings: Iterable[SetDah], *, timeout: float | None = None) -> list[Outcome[bool]]:
        """As `set_dah`. settings: an item each. Returns one outcome per setting, in order."""
        return await self._ask(questions.SET_DAH.many(settings), timeout)

    async def increment(
        self, txid: bytes, delta: int, block_height: int, *, timeout: float | None = None
    ) -> Incremented:
        """Puts right how many of the transaction's child records are fully spent.

        delta: 32 bits, may be negative. It is added only where the transaction was created by another program, which
        does not keep its children's states; elsewhere the children are asked, and asking again is safe. block_height:
        the height it is judged at.

        Returns the signal ("DAHSET": completely spent now, "DAHUNSET": no longer, None: neither) and the number of
        child records. Raises TxNotFound, and Rejection INVALID_PARAMETER where the count would be out of range.
        """
        return await self._ask(questions.INCREMENT.single((txid, delta, block_height)), timeout)

    async def increment_many(
        self, increments: Iterable[Increment], *, timeout: float | None = None
    ) -> list[Outcome[Incremented]]:
        """As `increment`. increments: an item each. Returns one outcome per increment, in order."""
        return await self._ask(questions.INCREMENT.many(increments), timeout)
