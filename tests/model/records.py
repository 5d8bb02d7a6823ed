"""What there is in a set, in plain Python, and what is seen of it. Written from records.md, and from nothing else.

The state is a flat map from what is known of a record or an output to its value; what is absent, empty or false is not
in it. So two states are equal where the maps are, and what a fault may have left is told key by key.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Self

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


class Records:
    """known: every transaction that was ever made, by txid. forms: its serialisations. seen: by key, what an item left
    there on its way, the last of it included."""

    def __init__(self, is_atomic: bool) -> None:
        self.is_atomic = is_atomic
        self.known: dict[bytes, Tx] = {}
        self.forms: dict[bytes, set[bytes]] = {}
        self.state: State = {}
        self.seen: dict[Key, set[Any]] = {}

    def copy(self) -> Self:
        other = type(self)(self.is_atomic)
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
        return self.counts(txid) and not self.get(PRESERVED, txid) and not self.get(LOCKED, txid)

    def counts(self, txid: bytes) -> bool:
        """Whether there is something to count from, though a lock or a preservation may suspend it."""
        return bool(self.get(CONFLICTING, txid)) or (self.is_all_spent(txid) and self.is_on_chain(txid))

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
        least, first = height or 0, max(matures, spendable)
        if held and held != FROZEN:
            return told | {"state": "SPENT", "spendingTxid": held[0], "spendingVin": held[1]}
        states: tuple[tuple[str, Any, dict[str, Any]], ...] = (
            ("FROZEN", held == FROZEN, {}),
            ("CREATING", self.get(CREATING, txid), {}),
            ("CONFLICTING", self.get(CONFLICTING, txid), {}),
            ("LOCKED", self.get(LOCKED, txid), {}),
            ("IMMATURE", matures > least, {"spendableFrom": first}),
            ("FROZEN_UNTIL", spendable > least, {"spendableFrom": first}),
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


def answers_of(method: Callable[..., Any], *arguments: Any) -> Answers:
    """What is right: one answer, or any of several."""
    try:
        value = method(*arguments)
    except Refused as refused:
        return [refused.expected]
    if isinstance(value, list) and value and isinstance(value[0], Expected):
        return value
    return [Expected(codes.OK, value)]
