"""The coins of a node, in plain Python: what every operation must answer, and what it must leave in the set. Written
from records.md, and from nothing else.

The state is a flat map from what is known of a record or an output to its value; what is absent, empty or false is not
in it. So two states are equal where the maps are, and what a fault may have left is told key by key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import codes
from tests.model.transactions import Outpoint, Output, Tx, hash_of

PER_RECORD: Final = 2  # utxo_batch_size: nearly everything has children
GENESIS_HEIGHT: Final = 104
MATURITY: Final = 100
RETENTION: Final = 288

# Kinds of keys: (kind, txid, number of the record), or (kind, txid, vout).
RECORD: Final = "record"  # which of its outputs are UTXOs
CREATING: Final = "creating"
CONFLICTING: Final = "conflicting"
LOCKED: Final = "locked"
MATURES: Final = "matures"
PRUNED: Final = "pruned spenders"
HOLDER: Final = "holder"  # (txid, vin), or FROZEN
SPENDABLE: Final = "spendable from"
OUTPUT: Final = "reassigned output"
# Of the master alone: (kind, txid, 0).
BLOCKS: Final = "blocks"
UNMINED: Final = "unmined since"
PRESERVED: Final = "preserved until"
NOTED: Final = "conflicting children"
LOCK: Final = "creation lock"
BARRED: Final = "abandoned"

FROZEN: Final = "frozen"

Key = tuple[str, bytes, int]
Holder = tuple[bytes, int]
State = dict[Key, Any]

# Flags of items, as docs/protocol.md has them.
IS_CONFLICTING, IS_LOCKED = 1, 2
SPENDS_CONFLICTING, SPENDS_LOCKED = 8, 16
IGNORES_CONFLICTING, IGNORES_LOCKED = 1, 2
ON_CHAIN, UNSETS = 1, 2


class Expected(NamedTuple):
    """One answer that would be right. value: of OK; None where anything will do. details: of a rejection, as far as it
    must have them."""

    code: str
    value: Any = None
    details: Mapping[str, Any] = {}


Answers = list[Expected]  # any of which is right


class Refused(Exception):
    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.expected = Expected(code, None, details)


class Coinset:
    """known: every transaction that was ever made, by txid. forms: its serialisations. seen: by key, what an item left there on its way, the last
    of it included."""

    def __init__(self, is_atomic: bool) -> None:
        self.is_atomic = is_atomic
        self.known: dict[bytes, Tx] = {}
        self.forms: dict[bytes, set[bytes]] = {}
        self.state: State = {}
        self.seen: dict[Key, set[Any]] = {}

    def copy(self) -> "Coinset":
        other = Coinset(self.is_atomic)
        other.known, other.forms, other.state = self.known, self.forms, dict(self.state)
        return other

    # ---- the state

    def get(self, kind: str, txid: bytes, number: int = 0) -> Any:
        return self.state.get((kind, txid, number))

    def put(self, kind: str, txid: bytes, number: int, value: Any) -> None:
        key = kind, txid, number
        if value:
            self.state[key] = value
        else:
            self.state.pop(key, None)
        self.may(kind, txid, number, value)

    def may(self, kind: str, txid: bytes, number: int, value: Any) -> None:
        """A fault may leave this."""
        self.seen.setdefault((kind, txid, number), set()).add(value or None)

    def is_there(self, txid: bytes) -> bool:
        return self.get(RECORD, txid) is not None

    def records(self, txid: bytes) -> int:
        tx = self.known[txid]
        return -(-len(tx.outputs) // PER_RECORD)

    def output(self, txid: bytes, vout: int) -> Output:
        """As it is now."""
        return self.get(OUTPUT, txid, vout) or self.known[txid].outputs[vout]

    def utxo_hash(self, txid: bytes, vout: int) -> bytes:
        if txid not in self.known or vout >= len(self.known[txid].outputs):
            return bytes(32)
        return hash_of(txid, vout, self.output(txid, vout))

    def holder(self, outpoint: Outpoint) -> Any:
        return self.get(HOLDER, *outpoint)

    def coins(self, txid: bytes) -> Iterable[Outpoint]:
        """Its outputs that are UTXOs."""
        for record in range(self.records(txid)):
            for offset, is_utxo in enumerate(self.get(RECORD, txid, record) or ()):
                if is_utxo:
                    yield txid, record * PER_RECORD + offset

    def is_on_chain(self, txid: bytes) -> bool:
        return bool(self.get(BLOCKS, txid)) and self.get(UNMINED, txid) is None

    def is_all_spent(self, txid: bytes) -> bool:
        """A reassigned output stands for one more that nobody can spend."""
        held = [self.holder(coin) for coin in self.coins(txid)]
        reassigned = any(self.get(OUTPUT, *coin) for coin in self.coins(txid))
        return not reassigned and all(held) and FROZEN not in held

    def is_due(self, txid: bytes) -> bool:
        """Whether it has a delete-at-height, once its counters are right."""
        if self.get(PRESERVED, txid) or self.get(LOCKED, txid):
            return False
        return self.get(CONFLICTING, txid) or (self.is_all_spent(txid) and self.is_on_chain(txid))

    # ---- what an item finds

    def _must_be_there(self, txid: bytes) -> None:
        if not self.is_there(txid):
            raise Refused(codes.TX_NOT_FOUND)

    def _coin(self, txid: bytes, vout: int) -> None:
        """That there is such an output, and that it is a UTXO."""
        utxos = self.get(RECORD, txid, vout // PER_RECORD)
        if utxos is None:
            self._must_be_there(txid)
        if utxos is None or vout % PER_RECORD >= len(utxos) or not utxos[vout % PER_RECORD]:
            raise Refused(codes.UTXO_NOT_FOUND)

    def _own_coin(self, txid: bytes, vout: int, utxo_hash: bytes) -> None:
        self._coin(txid, vout)
        if utxo_hash != self.utxo_hash(txid, vout):
            raise Refused(codes.UTXO_HASH_MISMATCH)

    def _flags_allow(self, txid: bytes, vout: int, height: int, ignored: int) -> None:
        record = vout // PER_RECORD
        if self.get(RECORD, txid, record) is None:
            self._must_be_there(txid)
            raise Refused(codes.CREATING if self.get(CREATING, txid) else codes.UTXO_NOT_FOUND)
        if self.get(CREATING, txid, record):
            raise Refused(codes.CREATING)
        if self.get(CONFLICTING, txid, record) and not ignored & IGNORES_CONFLICTING:
            raise Refused(codes.CONFLICTING)
        if self.get(LOCKED, txid, record) and not ignored & IGNORES_LOCKED:
            raise Refused(codes.LOCKED)
        if (self.get(MATURES, txid, record) or 0) > height:
            raise Refused(codes.COINBASE_IMMATURE)

    def _spent_by(self, holder: Holder) -> Refused:
        return Refused(codes.SPENT, spending_txid=holder[0], spending_vin=holder[1])

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
        if not self.is_there(spender) and not self.is_atomic:
            self.put(BARRED, spender, 0, True)
        given_back = []
        for txid, vout in outpoints:
            held = self.get(HOLDER, txid, vout)
            is_its = bool(held) and held[0] == spender
            if is_its and spender in (self.get(PRUNED, txid, vout // PER_RECORD) or ()):
                raise Refused(codes.INVALID_SPEND)
            if is_its:
                self.put(HOLDER, txid, vout, None)
            given_back.append(is_its)
        return given_back

    # ---- creations

    def create(self, tx: Tx, height: int, mined: Sequence[Sequence[int]], flags: int) -> Mapping[str, Any]:
        self._check_coinbase(tx, height, mined)
        if self.is_there(tx.txid) and not self.get(CREATING, tx.txid):
            if flags & IS_CONFLICTING and self.get(CONFLICTING, tx.txid):
                self._note_in_parents(tx)
            raise Refused(codes.TX_EXISTS)
        exists = self.is_there(tx.txid)
        self._create(tx, height, mined, flags)
        if exists:
            raise Refused(codes.TX_EXISTS)
        return self._description(tx)

    def _check_coinbase(self, tx: Tx, height: int, mined: Sequence[Sequence[int]]) -> None:
        if tx.is_coinbase and any(block[1] != height for block in mined):
            raise Refused(codes.BAD_REQUEST)

    def _create(self, tx: Tx, height: int, mined: Sequence[Sequence[int]], flags: int) -> None:
        """Also goes on with what another one has begun."""
        txid = tx.txid
        if self.get(BARRED, txid):
            raise Refused(codes.ABANDONED)
        self.may(LOCK, txid, 0, True)
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
        self._check_coinbase(tx, height, mined)
        if self.is_there(txid) and not self.get(CREATING, txid):
            return self._accept_again(tx, height, mined, flags)
        if self.get(BARRED, txid):
            raise Refused(codes.ABANDONED)
        before = dict(self.state)
        held = [list(coin) for vin, coin in enumerate(tx.spends) if self.holder(coin) == (txid, vin)]
        refusals = [] if flags & IS_CONFLICTING else self._spend_inputs(tx, shown, height, flags)
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
                refusals.append(refused.expected._replace(details={**refused.expected.details, **where}))
        return refusals

    def _accept_again(self, tx: Tx, height: int, mined: Sequence[Sequence[int]], flags: int) -> Mapping[str, Any]:
        """Nothing is created; mined blocks that are missing are added."""
        listed = {block[0] for block in self.get(BLOCKS, tx.txid) or ()}
        for block in mined:
            if block[0] not in listed:
                self.set_mined(tx.txid, *block, height, ON_CHAIN)
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
        tx = self.known[txid]
        self._put_everywhere(CONFLICTING, txid, value)
        if value:
            self._note_in_parents(tx)
        affected = [list(coin) for coin in tx.spends if (self.holder(coin) or b"\0")[0] == txid]
        spenders = {held[0] for coin in self.coins(txid) if (held := self.holder(coin)) and held != FROZEN}
        return [affected, sorted(spenders)]

    # ---- what is seen

    def outpoint(self, txid: bytes, vout: int) -> list[Any]:
        self._must_be_there(txid)
        if vout >= len(self.known[txid].outputs):
            raise Refused(codes.UTXO_NOT_FOUND)
        return list(self.output(txid, vout))

    def utxo(self, txid: bytes, vout: int, height: int | None) -> Mapping[str, Any]:
        self._must_be_there(txid)
        self._coin(txid, vout)
        output, record = self.output(txid, vout), vout // PER_RECORD
        told: dict[str, Any] = {
            "satoshis": output.satoshis,
            "lockingScript": output.script,
            "utxoHash": self.utxo_hash(txid, vout),
        }
        held = self.get(HOLDER, txid, vout)
        matures, spendable = self.get(MATURES, txid, record) or 0, self.get(SPENDABLE, txid, vout) or 0
        least = height if height is not None else -1
        if held and held != FROZEN:
            return told | {"state": "SPENT", "spendingTxid": held[0], "spendingVin": held[1]}
        states = (
            ("FROZEN", held == FROZEN, {}),
            ("CREATING", self.get(CREATING, txid), {}),
            ("CONFLICTING", self.get(CONFLICTING, txid), {}),
            ("LOCKED", self.get(LOCKED, txid), {}),
            ("IMMATURE", matures and matures > least, {"spendableFrom": matures}),
            ("FROZEN_UNTIL", spendable and spendable > least, {"spendableFrom": spendable}),
            ("UNSPENT", True, {}),
        )
        return told | next({"state": name, **more} for name, is_so, more in states if is_so)

    def get_fields(self, txid: bytes) -> Mapping[str, Any]:
        """The fields of its metadata that the model knows."""
        self._must_be_there(txid)
        blocks = self.get(BLOCKS, txid) or ()
        return {
            "txID": txid,
            "conflicting": bool(self.get(CONFLICTING, txid)),
            "locked": bool(self.get(LOCKED, txid)),
            "totalUtxos": len(self.known[txid].outputs),
            "totalExtraRecs": self.records(txid) - 1,
            "blockIDs": [block[0] for block in blocks] or None,
            "unminedSince": self.get(UNMINED, txid),
            "preserveUntil": self.get(PRESERVED, txid),
        }

    def raw(self, txid: bytes) -> Answers:
        """In any format in which anybody ever showed it."""
        self._must_be_there(txid)
        return [Expected(codes.OK, {"tx": raw}) for raw in self.forms[txid]]

    def increment(self, txid: bytes, delta: int, height: int) -> Answers:
        """The children are asked; the word that goes to them after that is told."""
        self._must_be_there(txid)
        signals = None, "DAHSET" if self.is_due(txid) else "DAHUNSET"
        return [Expected(codes.OK, [signal, self.records(txid) - 1]) for signal in signals]


def _is_utxo(script: bytes, height: int) -> bool:
    if height >= GENESIS_HEIGHT:
        return not script.startswith(b"\x00\x6a")
    return not script.startswith((b"\x6a", b"\x00\x6a")) and len(script) <= 10_000


def answers_of(method: Callable[..., Any], *arguments: Any) -> Answers:
    """What is right: one answer, or any of several."""
    try:
        value = method(*arguments)
    except Refused as refused:
        return [refused.expected]
    if isinstance(value, list) and value and isinstance(value[0], Expected):
        return value
    return [Expected(codes.OK, value)]
