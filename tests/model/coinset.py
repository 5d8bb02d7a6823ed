"""The coins of a node, in plain Python: what every operation must answer, and what it must leave in the set. Written
from records.md, and from nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from protocol import codes
from tests.model.records import (
    BARRED,
    BLOCKS,
    CONFLICTING,
    CREATING,
    FROZEN,
    GENESIS_HEIGHT,
    HOLDER,
    IS_CONFLICTING,
    IS_LOCKED,
    LOCK,
    LOCKED,
    MATURES,
    MATURITY,
    NOTED,
    ON_CHAIN,
    OUTPUT,
    PER_RECORD,
    PRESERVED,
    PRUNED,
    RECORD,
    SPENDABLE,
    SPENDS_CONFLICTING,
    UNMINED,
    UNSETS,
    Answers,
    Expected,
    Records,
    Refused,
    answers_of,
)
from tests.model.transactions import Output, Tx, hash_of


class Coinset(Records):
    # ---- spends

    def _spend(
        self, txid: bytes, vout: int, utxo_hash: bytes, spender: bytes, vin: int, height: int, ignored: int
    ) -> bool:
        self._flags_allow(txid, vout, height, ignored)
        self._own_coin(txid, vout, utxo_hash)
        if (self.get(SPENDABLE, txid, vout) or 0) > height:
            raise Refused(codes.FROZEN_UNTIL)
        if spender in (self.get(PRUNED, txid, vout // PER_RECORD) or ()):
            raise Refused(codes.INVALID_SPEND)
        held = self.get(HOLDER, txid, vout)
        if held == (spender, vin):
            return False
        if held == FROZEN:
            raise Refused(codes.FROZEN)
        if held:
            raise self._spent_by(held)
        self.put(HOLDER, txid, vout, (spender, vin))
        return True

    def spend(self, *item: Any) -> bool:
        txid, vout, _, spender, vin, *_ = item
        try:
            return self._spend(*item)
        except Refused as refused:
            held = [[txid, vout]] if self.get(HOLDER, txid, vout) == (spender, vin) else []
            raise Refused(refused.expected.code, **refused.expected.details, held=held) from None

    def spend_transaction(self, items: Sequence[Any]) -> list[Answers]:
        """All of them, or none."""
        held = [[item[0], item[1]] for item in items if self.get(HOLDER, item[0], item[1]) == (item[3], item[4])]
        before, answers, first = dict(self.state), [], None
        for place, item in enumerate(items):
            try:
                answers.append(Expected(codes.OK, self._spend(*item)))
            except Refused as refused:
                answers.append(refused.expected)
                first = place if first is None else first
        if first is None:
            return [[answer] for answer in answers]
        self.state = before
        where = {"because": first, "outpoint": list(items[first][:2])}
        return [
            [
                Expected(
                    answers[first].code if answer.code == codes.OK else answer.code,
                    None,
                    {**answer.details, **where, **({"held": held} if place == first else {})},
                )
            ]
            for place, answer in enumerate(answers)
        ]

    def unspend(self, *item: Any) -> Answers:
        """Which of two reasons a refusal gives is not promised, nor that a spender that is mined is refused what it
        does not hold."""
        txid, vout, _, spender, vin, *_ = item
        mined = [Expected(codes.SPENDER_MINED)] if self.is_on_chain(spender) else []
        if mined and self.get(HOLDER, txid, vout) == (spender, vin):
            return mined
        return mined + answers_of(self._unspend, *item)

    def _unspend(
        self, txid: bytes, vout: int, utxo_hash: bytes, spender: bytes, vin: int, height: int, ignored: int
    ) -> bool:
        self._own_coin(txid, vout, utxo_hash)
        if spender in (self.get(PRUNED, txid, vout // PER_RECORD) or ()):
            raise Refused(codes.INVALID_SPEND)
        held = self.get(HOLDER, txid, vout)
        if held == FROZEN:
            raise Refused(codes.FROZEN)
        if held and held != (spender, vin):
            raise self._spent_by(held)
        self.put(HOLDER, txid, vout, None)
        return bool(held)

    def abandon(self, spender: bytes, outpoints: Sequence[Sequence[Any]], height: int) -> list[bool]:
        if self.is_there(spender) and not self.get(CONFLICTING, spender):
            raise Refused(codes.SPENDER_EXISTS)
        if self.is_on_chain(spender):
            raise Refused(codes.SPENDER_MINED)
        if not self.is_there(spender) and not self.is_atomic:
            self.put(BARRED, spender, 0, True)  # before it is known what it holds
        own = [(txid, vout) for txid, vout in outpoints if (self.get(HOLDER, txid, vout) or b"-")[0] == spender]
        if any(spender in (self.get(PRUNED, txid, vout // PER_RECORD) or ()) for txid, vout in own):
            raise Refused(codes.INVALID_SPEND)
        for coin in own:
            self.put(HOLDER, *coin, None)
        return [(txid, vout) in own for txid, vout in outpoints]

    # ---- creations

    def create(self, tx: Tx, height: int, mined: Sequence[Sequence[int]], flags: int) -> Mapping[str, Any]:
        self._begin(tx, height, mined)
        if self.is_there(tx.txid) and not self.get(CREATING, tx.txid):
            if flags & IS_CONFLICTING and self.get(CONFLICTING, tx.txid):
                self._note_in_parents(tx)
            raise Refused(codes.TX_EXISTS)
        exists = self.is_there(tx.txid)
        self._create(tx, height, mined, flags)
        if exists:
            raise Refused(codes.TX_EXISTS)
        return self._description(tx)

    def _begin(self, tx: Tx, height: int, mined: Sequence[Sequence[int]]) -> None:
        self.may(LOCK, tx.txid, 0, True)
        if tx.is_coinbase and any(block[1] != height for block in mined):
            raise Refused(codes.BAD_REQUEST)

    def _create(self, tx: Tx, height: int, mined: Sequence[Sequence[int]], flags: int) -> None:
        """Also goes on with what another one has begun."""
        txid = tx.txid
        if self.get(BARRED, txid):
            raise Refused(codes.ABANDONED)
        if self.get(LOCK, txid):
            raise Refused(codes.CREATING)
        count = self.records(txid)
        begun = self.is_there(txid)
        for record in range(count):
            outputs = tx.outputs[record * PER_RECORD : (record + 1) * PER_RECORD]
            own = (
                (RECORD, tuple(_is_utxo(output.script, height) for output in outputs)),
                (CONFLICTING, bool(flags & IS_CONFLICTING)),
                (LOCKED, bool(flags & IS_LOCKED)),
                (MATURES, height + MATURITY if tx.is_coinbase else None),
            )
            for kind, value in own if not begun else ():
                self.put(kind, txid, record, value)
            self.may(CREATING, txid, record, True)
            self.put(CREATING, txid, record, None)
        if not begun:
            self.put(BLOCKS, txid, 0, tuple(map(tuple, mined)))
            self.put(UNMINED, txid, 0, None if mined else height)
        if flags & IS_CONFLICTING and self.get(CONFLICTING, txid):
            self._note_in_parents(tx)

    def _note_in_parents(self, tx: Tx) -> None:
        for parent, _ in tx.spends:
            if self.is_there(parent):
                self.put(NOTED, parent, 0, (self.get(NOTED, parent) or frozenset()) | {tx.txid})

    def _description(self, tx: Tx) -> Mapping[str, Any]:
        return {
            "txID": tx.txid,
            "isCoinbase": tx.is_coinbase,
            "sizeInBytes": len(tx.raw),
            "totalUtxos": len(tx.outputs),
            "records": self.records(tx.txid),
        }

    def accept(
        self, tx: Tx, shown: Sequence[Output] | None, height: int, mined: Sequence[Sequence[int]], flags: int
    ) -> Mapping[str, Any] | Answers:
        """shown: the outputs that it spends, where it says so itself."""
        txid = tx.txid
        self._begin(tx, height, mined)
        if self.is_there(txid) and not self.get(CREATING, txid):
            return self._accept_again(tx, height, mined, flags)
        if self.get(BARRED, txid):
            raise Refused(codes.ABANDONED)
        before = dict(self.state)
        held = [list(coin) for vin, coin in enumerate(tx.spends) if self.holder(coin) == (txid, vin)]
        is_conflicting = flags & IS_CONFLICTING
        refusals = self._untrue(tx, shown) if is_conflicting else self._spend_inputs(tx, shown, height, flags)
        if not refusals:
            exists = self.is_there(txid)
            try:
                self._create(tx, height, mined, flags)
            except Refused as refused:
                self.state = before
                raise Refused(refused.expected.code, held=held) from None
            return self._accepted(tx, not exists)
        self.state = before
        return [refusal._replace(details={**refusal.details, "held": held}) for refusal in refusals]

    def _spend_inputs(self, tx: Tx, shown: Sequence[Output] | None, height: int, flags: int) -> Answers:
        ignored = flags // SPENDS_CONFLICTING
        refusals = []
        for vin, (parent, vout) in enumerate(tx.spends):
            utxo_hash = hash_of(parent, vout, shown[vin]) if shown else self.utxo_hash(parent, vout)
            try:
                self._spend(parent, vout, utxo_hash, tx.txid, vin, height, ignored)
            except Refused as refused:
                where = {"vin": vin, "outpoint": [parent, vout]}
                reasons = [refused.expected, *([] if shown else self._why_unknown(parent, vout))]
                refusals += [reason._replace(details={**reason.details, **where}) for reason in reasons]
        return refusals

    def _untrue(self, tx: Tx, shown: Sequence[Output] | None) -> Answers:
        """One that is to be conflicting spends nothing; but nothing false is kept of what it spends, as far as that is
        in the set."""
        return [
            Expected(codes.UTXO_HASH_MISMATCH, None, {"vin": vin, "outpoint": [parent, vout]})
            for vin, (parent, vout) in enumerate(tx.spends)
            if shown and self.is_there(parent) and vout < len(self.known[parent].outputs)
            if shown[vin] != self.output(parent, vout)
        ]

    def _why_unknown(self, txid: bytes, vout: int) -> Answers:
        """An output that is looked up may be missed before its record refuses."""
        if not self.is_there(txid):
            return [Expected(codes.TX_NOT_FOUND)]
        return [answer for answer in answers_of(self._coin, txid, vout) if answer.code != codes.OK]

    def _accept_again(self, tx: Tx, height: int, mined: Sequence[Sequence[int]], flags: int) -> Mapping[str, Any]:
        """Nothing is created; mined blocks that are missing are added. Where none is, one that is listed counts
        again: on the longest chain, and unlocked."""
        listed = {block[0] for block in self.get(BLOCKS, tx.txid) or ()}
        added = [block for block in mined if block[0] not in listed]
        stays_locked = flags & IS_LOCKED or not self.get(LOCKED, tx.txid)
        if not added and not (stays_locked and self.get(UNMINED, tx.txid) is None):
            added = list(mined[:1])
        for block_id, block_height, subtree in added:
            self.set_mined(tx.txid, block_id, block_height, subtree, height, ON_CHAIN)
        if flags & IS_CONFLICTING and self.get(CONFLICTING, tx.txid):
            self._note_in_parents(tx)
        return self._accepted(tx, False)

    def _accepted(self, tx: Tx, created: bool) -> Mapping[str, Any]:
        conflicting = bool(self.get(CONFLICTING, tx.txid))
        return {**self._description(tx), "created": created, "conflicting": conflicting}

    # ---- blocks

    def set_mined(
        self, txid: bytes, block_id: int, block_height: int, subtree: int, height: int, flags: int
    ) -> list[int]:
        self._must_be_there(txid)
        if self.get(CREATING, txid):
            raise Refused(codes.CREATING)
        blocks = self.get(BLOCKS, txid) or ()
        listed = any(block[0] == block_id for block in blocks)
        if flags & UNSETS:
            blocks = tuple(block for block in blocks if block[0] != block_id)
            self.put(BLOCKS, txid, 0, blocks)
            if (listed or not blocks) and (not blocks or not flags & ON_CHAIN) and not self.get(UNMINED, txid):
                self.put(UNMINED, txid, 0, height)
        else:
            if not listed:
                blocks = (*blocks, (block_id, block_height, subtree))
                self.put(BLOCKS, txid, 0, blocks)
            if flags & ON_CHAIN:
                self.put(UNMINED, txid, 0, None)
            self._put_everywhere(LOCKED, txid, None)
        return [block[0] for block in blocks]

    def mark_longest_chain(self, txid: bytes, value: bool, height: int) -> bool:
        self._must_be_there(txid)
        if value and not self.get(BLOCKS, txid):
            raise Refused(codes.INVALID_PARAMETER)
        if value:
            self.put(UNMINED, txid, 0, None)
        elif not self.get(UNMINED, txid):
            self.put(UNMINED, txid, 0, height)
        return True

    def _put_everywhere(self, kind: str, txid: bytes, value: Any) -> None:
        for record in range(self.records(txid)):
            self.put(kind, txid, record, value)

    # ---- alerts

    def freeze(self, txid: bytes, vout: int, utxo_hash: bytes) -> bool:
        self._own_coin(txid, vout, utxo_hash)
        held = self.get(HOLDER, txid, vout)
        if held == FROZEN:
            raise Refused(codes.ALREADY_FROZEN)
        if held:
            raise self._spent_by(held)
        self.put(HOLDER, txid, vout, FROZEN)
        return True

    def _must_be_frozen(self, txid: bytes, vout: int, utxo_hash: bytes) -> None:
        self._own_coin(txid, vout, utxo_hash)
        held = self.get(HOLDER, txid, vout)
        if held != FROZEN:
            raise Refused(codes.UTXO_NOT_FROZEN if held else codes.UTXO_INVALID_SIZE)

    def unfreeze(self, txid: bytes, vout: int, utxo_hash: bytes) -> bool:
        self._must_be_frozen(txid, vout, utxo_hash)
        self.put(HOLDER, txid, vout, None)
        return True

    def reassign(
        self, txid: bytes, vout: int, utxo_hash: bytes, satoshis: int, script: bytes, height: int, after: int
    ) -> bytes:
        self._must_be_frozen(txid, vout, utxo_hash)
        self.put(HOLDER, txid, vout, None)
        self.put(OUTPUT, txid, vout, Output(satoshis, script))
        self.put(SPENDABLE, txid, vout, height + after)
        return self.utxo_hash(txid, vout)

    # ---- marks

    def preserve_until(self, txid: bytes, height: int) -> bool:
        self._must_be_there(txid)
        self.put(PRESERVED, txid, 0, height)
        return True

    def set_locked(self, txid: bytes, value: bool) -> int:
        self._must_be_there(txid)
        self._put_everywhere(LOCKED, txid, value)
        return self.records(txid) - 1

    def set_conflicting(self, txid: bytes, value: bool, height: int) -> list[Any]:
        self._must_be_there(txid)
        if self.get(CREATING, txid):
            raise Refused(codes.CREATING)
        tx = self.known[txid]
        self._put_everywhere(CONFLICTING, txid, value)
        if value:
            self._note_in_parents(tx)
        affected = [list(coin) for coin in tx.spends if (self.holder(coin) or b"\0")[0] == txid]
        spenders = {held[0] for coin in self.coins(txid) if (held := self.holder(coin)) and held != FROZEN}
        return [affected, sorted(spenders)]


def _is_utxo(script: bytes, height: int) -> bool:
    if height >= GENESIS_HEIGHT:
        return not script.startswith(b"\x00\x6a")
    return not script.startswith((b"\x6a", b"\x00\x6a")) and len(script) <= 10_000
