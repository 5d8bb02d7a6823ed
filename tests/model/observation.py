"""What there is in the set, read record by record past the workers, in the model's words; and what must hold of any
record at any time, or once nothing is left to be done."""

from collections.abc import Mapping, Sequence
from typing import Any

from store.layout import unpack_spending_data
from tests.model import records as kinds
from tests.model.records import FROZEN, PER_RECORD, State
from tests.model.transactions import Output

Record = Mapping[str, Any]
_FROZEN = b"\xff" * 36


def state_of(txid: bytes, found: Sequence[Record | None]) -> State:
    """found: the records of a transaction, and its creation lock."""
    *records, lock = found
    state: State = {}
    master = records[0]
    if master is not None and "abandoned" in master:
        assert set(master) == {"abandoned"}, f"a mark among a transaction's bins: {master}"
        state[kinds.BARRED, txid, 0] = True
        master = records[0] = None
    for index, record in enumerate(records):
        if record is not None:
            state |= _of_record(txid, index, record)
    if master is not None:
        state |= _of_master(txid, master)
    state[kinds.LOCK, txid, 0] = lock is not None
    return {key: value for key, value in state.items() if value}


def _of_record(txid: bytes, index: int, record: Record) -> State:
    state: State = {
        (kinds.RECORD, txid, index): tuple(utxo is not None for utxo in record["utxos"]),
        (kinds.CREATING, txid, index): bool(record.get("creating")),
        (kinds.CONFLICTING, txid, index): bool(record.get("conflicting")),
        (kinds.LOCKED, txid, index): bool(record.get("locked")),
        (kinds.MATURES, txid, index): record.get("spendingHeight"),
        (kinds.PRUNED, txid, index): frozenset(
            bytes.fromhex(spender)[::-1] for spender in record.get("deletedChildren") or ()
        ),
    }
    for offset, utxo in enumerate(record["utxos"]):
        vout = index * PER_RECORD + offset
        if utxo is not None and len(utxo) > 32:
            is_frozen = utxo[32:] == _FROZEN
            state[kinds.HOLDER, txid, vout] = FROZEN if is_frozen else tuple(unpack_spending_data(utxo[32:]))
        state[kinds.SPENDABLE, txid, vout] = (record.get("utxoSpendableIn") or {}).get(offset)
        reassigned = (record.get("reassigned") or {}).get(offset)
        state[kinds.OUTPUT, txid, vout] = Output(*reassigned) if reassigned else None
    return state


def _of_master(txid: bytes, master: Record) -> State:
    noted = master.get("conflictingCs") or []
    assert len(set(noted)) == len(noted), f"noted twice: {noted}"
    blocks = [master.get(name) or [] for name in ("blockIDs", "blockHeights", "subtreeIdxs")]
    return {
        (kinds.BLOCKS, txid, 0): tuple(zip(*blocks, strict=True)),
        (kinds.UNMINED, txid, 0): master.get("unminedSince"),
        (kinds.PRESERVED, txid, 0): master.get("preserveUntil"),
        (kinds.NOTED, txid, 0): frozenset(noted),
    }


def always(records: Sequence[Record | None]) -> str:
    """What is wrong with records by themselves, whatever is under way; empty where nothing is."""
    for index, record in enumerate(records):
        if record is None or "abandoned" in record:
            continue
        utxos = [utxo for utxo in record["utxos"] if utxo is not None]
        spent = sum(len(utxo) > 32 and utxo[32:] != _FROZEN for utxo in utxos)
        counted = record["spentUtxos"], record["recordUtxos"]
        right = spent, len(utxos) + len(record.get("reassignments") or ())
        if counted != right:
            return f"record {index} counts {counted} spent and UTXOs: {right}"
        if index and record.get("stateSeq", 0) % 2 != (spent == right[1]):
            return f"record {index}: stateSeq {record.get('stateSeq', 0)}, {right}"
    return ""


def quiet(records: Sequence[Record]) -> str:
    """What is wrong with a transaction of which nothing is left to be done."""
    master, *children = records
    states = [child.get("stateSeq", 0) for child in children]
    if master["spentExtraRecs"] != sum(state % 2 for state in states):
        return f"counts {master['spentExtraRecs']} spent children: {states}"
    known = master.get("childStates", b"")
    if children and known != b"".join((state % 65536).to_bytes(2, "little") for state in states):
        return f"has heard {known.hex()} of its children: {states}"
    for name in ("locked", "conflicting", "creating"):
        if len({bool(record.get(name)) for record in records}) > 1:
            return f"{name}: {[record.get(name) for record in records]}"
    return ""
