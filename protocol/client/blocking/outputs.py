# Generated from its twin by `python -m tests.protocol.generate_blocking`: change that, and run this.
"""What can be asked about single outputs."""

from collections.abc import Iterable

from .. import questions
from ..items import Abandonment, Reassignment, Spend
from ..results import Outcome, Outpoint, Utxo
from .asker import Asker


class OutputAsker(Asker):
    """Their conventions: the client's own docstring."""

    def outpoint(self, txid: bytes, vout: int, *, timeout: float | None = None) -> Outpoint:
        """Reads an output as it is now (after a reassignment too), whether it is spent or not.

        txid, vout: the transaction, and the index of the output in it.

        Returns its value in satoshis and its locking script, checked against its utxo hash. Raises TxNotFound, and
        Rejection UTXO_NOT_FOUND where the transaction has no such output.
        """
        return self._ask(questions.OUTPOINT.single((txid, vout)), timeout)

    def outpoint_many(
        self, outpoints: Iterable[tuple[bytes, int]], *, timeout: float | None = None
    ) -> list[Outcome[Outpoint]]:
        """As `outpoint`. outpoints: (txid, vout) each. Returns one outcome per outpoint, in order."""
        return self._ask(questions.OUTPOINT.many(outpoints), timeout)

    def utxo(self, txid: bytes, vout: int, *, block_height: int | None = None, timeout: float | None = None) -> Utxo:
        """Reads an output and its state: whether it can be spent, and else why not.

        block_height: the height it is judged at: an output that may be spent from then on is not IMMATURE or
        FROZEN_UNTIL. None: whatever height it may be spent from is told.

        Returns the output as it is now, after a reassignment too, checked against its utxo hash; its state; who has
        spent it. Raises TxNotFound, and Rejection UTXO_NOT_FOUND where there is no such output, or it is no UTXO.
        """
        return self._ask(questions.UTXO.single((txid, vout, block_height)), timeout)

    def utxo_many(
        self,
        outpoints: Iterable[tuple[bytes, int]],
        *,
        block_height: int | None = None,
        timeout: float | None = None,
    ) -> list[Outcome[Utxo]]:
        """As `utxo`. outpoints: (txid, vout) each. block_height: the same for all. Returns one outcome per outpoint,
        in order."""
        items = [(*outpoint, block_height) for outpoint in outpoints]
        return self._ask(questions.UTXO.many(items), timeout)

    def spend(self, spend: Spend, *, timeout: float | None = None) -> bool:
        """Spends one output. The rules it is judged by: docs/protocol.md, Operations and Codes.

        spend: the output, its utxo hash, and the input that spends it.

        Returns True: it was applied now. False: this spender had spent it before. Both stand until somebody asks to
        take it back. Raises Spent (its details name spending_txid and spending_vin), Locked, TxNotFound, and the other
        rejections as Rejection; their details name by `held` what the spender has of this output, where that is so.
        """
        return self._ask(questions.SPEND.single(spend), timeout)

    def spend_many(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[Outcome[bool]]:
        """As `spend`. spends: each for itself; see `spend_transaction` for those that belong together. Returns
        one outcome per spend, in order."""
        return self._ask(questions.SPEND.many(spends), timeout)

    def spend_transaction(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[bool]:
        """Spends all the inputs of one transaction, or none of them.

        spends: all of the same spending_txid. They go in one request: at most as many as the daemon's limit of items.

        Returns what `spend` does for each, in order. Raises the first refusal: its details name the refused input
        by `because` (its index in `spends`) and `outpoint`, and by `held` ([txid, vout] each) what the transaction
        still has. Where the error's `executed` is "unknown", some may stand (its details list them as `outpoints`): ask
        again, or `abandon` them.
        """
        return self._ask(questions.SPEND.together(spends), timeout)

    def unspend(self, spend: Spend, *, timeout: float | None = None) -> bool:
        """Undoes a spend: what its spending_txid and vin hold, and nothing else.

        spend: as it was spent; its flags are ignored.

        Returns True: it was undone now. False: the output was unspent. Raises Spent (by another: its details name
        spending_txid and spending_vin), TxNotFound, and the other rejections as Rejection, among them INVALID_SPEND
        where the spender was pruned, and SPENDER_MINED where it is mined on the longest chain.
        """
        return self._ask(questions.UNSPEND.single(spend), timeout)

    def unspend_many(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[Outcome[bool]]:
        """As `unspend`. spends: each is undone for itself. Returns one outcome per spend, in order."""
        return self._ask(questions.UNSPEND.many(spends), timeout)

    def abandon(
        self,
        spending_txid: bytes,
        outpoints: Iterable[tuple[bytes, int]],
        *,
        block_height: int,
        timeout: float | None = None,
    ) -> list[bool]:
        """Gives back what a transaction holds that never came to be: after an `accept` or a `spend_transaction` whose
        error says "unknown", and that is not to be asked again.

        spending_txid: the transaction. outpoints: (txid, vout) each, 1 to 10,000: the outputs that it spends.
        block_height: the height it is judged at.

        Returns for each outpoint, in order, True: it was given back now, or False: that transaction does not hold it.
        Raises SpenderExists where the transaction came to be after all and is not conflicting; Rejection INVALID_SPEND
        where it was pruned. Where the error's `executed` is "unknown", its details list as `outpoints` ([txid, vout]
        each) those that may still stand: ask again.
        """
        item = (spending_txid, list(outpoints), block_height)
        return self._ask(questions.ABANDON.single(item), timeout)

    def abandon_many(
        self, abandonments: Iterable[Abandonment], *, timeout: float | None = None
    ) -> list[Outcome[list[bool]]]:
        """As `abandon`. abandonments: an item each. Returns one outcome per abandonment, in order."""
        return self._ask(questions.ABANDON.many(abandonments), timeout)

    def freeze(self, txid: bytes, vout: int, utxo_hash: bytes, *, timeout: float | None = None) -> bool:
        """Freezes an output: nobody spends it until it is unfrozen or reassigned.

        utxo_hash: of the output, see the function of that name.

        Returns True. Raises TxNotFound, Spent, and Rejection: ALREADY_FROZEN, UTXO_NOT_FOUND, UTXO_HASH_MISMATCH.
        """
        return self._ask(questions.FREEZE.single((txid, vout, utxo_hash)), timeout)

    def freeze_many(
        self, outputs: Iterable[tuple[bytes, int, bytes]], *, timeout: float | None = None
    ) -> list[Outcome[bool]]:
        """As `freeze`. outputs: (txid, vout, utxo hash) each. Returns one outcome per output, in order."""
        return self._ask(questions.FREEZE.many(outputs), timeout)

    def unfreeze(self, txid: bytes, vout: int, utxo_hash: bytes, *, timeout: float | None = None) -> bool:
        """Ends the freezing of an output.

        utxo_hash: of the output, see the function of that name.

        Returns True. Raises TxNotFound, and Rejection: UTXO_INVALID_SIZE where the output is unspent and not frozen,
        UTXO_NOT_FROZEN where it is spent, UTXO_NOT_FOUND, UTXO_HASH_MISMATCH.
        """
        return self._ask(questions.UNFREEZE.single((txid, vout, utxo_hash)), timeout)

    def unfreeze_many(
        self, outputs: Iterable[tuple[bytes, int, bytes]], *, timeout: float | None = None
    ) -> list[Outcome[bool]]:
        """As `unfreeze`. outputs: (txid, vout, utxo hash) each. Returns one outcome per output, in order."""
        return self._ask(questions.UNFREEZE.many(outputs), timeout)

    def reassign(self, reassignment: Reassignment, *, timeout: float | None = None) -> bytes:
        """Gives a frozen output another value and script; it is no longer frozen, but spendable only later.

        reassignment: the output, what it becomes, and from when on it may be spent.

        Returns the output's new utxo hash. Raises what `unfreeze` does. It is recorded each time that it is done: after
        an "unknown", look at the output (`utxo`) before you ask again.
        """
        return self._ask(questions.REASSIGN.single(reassignment), timeout)

    def reassign_many(
        self, reassignments: Iterable[Reassignment], *, timeout: float | None = None
    ) -> list[Outcome[bytes]]:
        """As `reassign`. reassignments: an item each. Returns one outcome per reassignment, in order."""
        return self._ask(questions.REASSIGN.many(reassignments), timeout)
