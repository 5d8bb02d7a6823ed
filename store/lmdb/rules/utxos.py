"""A UTXO, and who has it: 32 bytes, the utxo hash, and where it is spent or frozen the spending data."""

from typing import Any, Final

from store.layout import SPENT_UTXO_BYTES, TXID_BYTES, UTXO_BYTES
from store.lmdb.record import Record

from .answers import Answer, describe, refuse_missing, refuse_parameter
from .presence import is_there

NO_UTXOS: Final = describe("UTXOS_NOT_FOUND", "the record has no UTXOs")


def txid_hex(spender: bytes) -> str:
    """The txid that begins these spending data, in display order."""
    return spender[TXID_BYTES - 1 :: -1].hex()


def spender_hex(spender: bytes) -> str:
    """Spending data as answers give them: the txid in display order, then the input index as it is stored."""
    return txid_hex(spender) + spender[TXID_BYTES:].hex()


def utxo_error(utxo: bytes | None, utxo_hash: bytes) -> Answer | None:
    """Why this is not the UTXO, spent or not, that is meant."""
    if utxo is None:
        return describe("UTXO_NOT_FOUND", "no UTXO at this offset")
    if len(utxo) not in (UTXO_BYTES, SPENT_UTXO_BYTES):
        return describe("UTXO_INVALID_SIZE", f"the stored UTXO has {len(utxo)} bytes")
    if not utxo.startswith(utxo_hash):
        return describe("UTXO_HASH_MISMATCH", "the output at this offset has another hash")
    return None


def open_utxo(record: Record | None, fault: str | None, offset: int, utxo_hash: bytes) -> tuple[Record, bytes] | Answer:
    """The record, and who has this output: spending data, empty where it is unspent. Or the refusal. fault: of the
    arguments."""
    if fault is not None:
        return refuse_parameter(fault)
    if not is_there(record):
        return refuse_missing()
    if record.slots is None:
        return {"status": "ERROR", **NO_UTXOS}
    utxo = record.utxo(offset)
    error = utxo_error(utxo, utxo_hash)
    if error is not None:
        return {"status": "ERROR", **error}
    assert utxo is not None
    return record, utxo[UTXO_BYTES:]


def is_held(utxo: bytes | None, spender: bytes) -> bool:
    """Whether this spender has the output already, whatever else is wrong with the spend."""
    return utxo is not None and len(utxo) == SPENT_UTXO_BYTES and utxo.endswith(spender)


def is_pruned(deleted_children: dict[str, Any] | None, spender: bytes) -> bool:
    """Whether the transaction that begins these spending data was pruned."""
    return deleted_children is not None and deleted_children.get(txid_hex(spender)) is not None
