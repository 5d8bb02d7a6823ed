"""Results and outcomes: what a caller gets back from the client."""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from .. import codes
from .errors import UtxodError

T = TypeVar("T")


class Outpoint(NamedTuple):
    """An output: its value in satoshis, and its locking script."""

    satoshis: int
    locking_script: bytes

    @classmethod
    def read(cls, value: Any) -> "Outpoint":
        satoshis, locking_script = value
        return cls(satoshis, locking_script)


class Utxo(NamedTuple):
    """An output that is a UTXO, or was one. satoshis: its value. utxo_hash: 32 bytes.

    state: UNSPENT, or why it can't be spent: SPENT, FROZEN, CREATING, CONFLICTING, LOCKED, IMMATURE (a coinbase) or
    FROZEN_UNTIL (it was reassigned); of several that hold, the first in this order. spending_txid, spending_vin: of the
    input that has spent it, else None. spendable_from: the first height at which an output that is IMMATURE or
    FROZEN_UNTIL may be spent, else None."""

    satoshis: int
    locking_script: bytes
    utxo_hash: bytes
    state: str
    spending_txid: bytes | None = None
    spending_vin: int | None = None
    spendable_from: int | None = None

    @classmethod
    def read(cls, value: Any) -> "Utxo":
        output = value["satoshis"], value["lockingScript"], value["utxoHash"], value["state"]
        return cls(*output, value.get("spendingTxid"), value.get("spendingVin"), value.get("spendableFrom"))


class Accepted(NamedTuple):
    """A transaction that is in the set. created: True: by this call; False: it was there. conflicting: whether it is
    marked so, in the set. metadata: txID, isCoinbase, sizeInBytes, totalUtxos, records, and fee where it is known."""

    created: bool
    conflicting: bool
    metadata: Mapping[str, Any]

    @classmethod
    def read(cls, value: Any) -> "Accepted":
        metadata = dict(value)
        return cls(metadata.pop("created"), metadata.pop("conflicting"), metadata)


class Conflict(NamedTuple):
    """What a transaction's being conflicting concerns. affected: (txid, vout) each, the outputs of its parents that
    name it as their spender; None where its inputs are not known, as it was created in part. spenders: the txids of the
    transactions that spend its outputs, each once."""

    affected: list[tuple[bytes, int]] | None
    spenders: list[bytes]

    @classmethod
    def read(cls, value: Any) -> "Conflict":
        affected, spenders = value
        return cls(None if affected is None else [(txid, vout) for txid, vout in affected], spenders)


class Incremented(NamedTuple):
    """signal: DAHSET, DAHUNSET, or None where nothing follows. child_count: child records of the transaction."""

    signal: str | None
    child_count: int

    @classmethod
    def read(cls, value: Any) -> "Incremented":
        signal, child_count = value
        return cls(signal, child_count)


class Outcome(Generic[T]):
    """What became of one item of a `*_many` call: `.result` where `.ok` (None otherwise), or else `.error`."""

    __slots__ = ("error", "result")

    def __init__(self, result: T, error: UtxodError | None = None) -> None:
        self.result = result
        self.error = error

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def code(self) -> str:
        """OK, or the error's code."""
        return codes.OK if self.error is None else self.error.code

    def __repr__(self) -> str:
        return f"Outcome({self.result!r})" if self.error is None else f"Outcome(error={self.error!r})"
