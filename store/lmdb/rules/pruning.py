"""The rule addDeletedChildren: which spenders of a record's outputs were pruned."""

from typing import Any

from store.layout import FROZEN, SPENT_UTXO_BYTES, UTXO_BYTES
from store.lmdb.record import Record

from .answers import Answer, refuse_missing, refuse_parameter
from .arguments import WRONG_KIND, is_hash, is_index
from .presence import is_there
from .utxos import NO_UTXOS, txid_hex

Mark = tuple[int, bytes]


def add_deleted_children(record: Record | None, marks: Any) -> Answer:
    """marks: a list of [offset, txid of a spender that is pruned]. Only one that the output names is noted, and what it
    spends is never given back: so there are no more of them than outputs, and the record stays below its limit."""
    parsed = _parse(marks)
    if isinstance(parsed, str):
        return refuse_parameter(parsed)
    if not is_there(record):
        return refuse_missing()
    if record.slots is None:
        return {"status": "ERROR", **NO_UTXOS}
    named = {txid_hex(txid): True for offset, txid in parsed if _is_spent_by(record.utxo(offset), txid)}
    if named:
        record.bins.deletedChildren = (record.bins.deletedChildren or {}) | named
        record.is_changed = True
    return {"status": "OK"}


def _parse(marks: Any) -> list[Mark] | str:
    """The marks; or what is wrong with the first that is malformed."""
    if not isinstance(marks, list | tuple):
        return WRONG_KIND
    parsed: list[Mark] = []
    for position, mark in enumerate(marks, 1):
        if not isinstance(mark, list | tuple):
            return WRONG_KIND
        offset, txid = (*mark, None, None)[:2]
        if not is_index(offset):
            return f"mark {position}: offset is no unsigned integer"
        if type(txid) is not bytes:
            return WRONG_KIND
        if not is_hash(txid):
            return f"mark {position}: spender's txid is not 32 bytes"
        parsed.append((offset, txid))
    return parsed


def _is_spent_by(utxo: bytes | None, txid: bytes) -> bool:
    """Whether this transaction has spent an output."""
    if utxo is None or len(utxo) != SPENT_UTXO_BYTES:
        return False
    return utxo.startswith(txid, UTXO_BYTES) and not utxo.endswith(FROZEN)
