"""Who spends what: the outputs of its parents that name a transaction as their spender, and those who spend its own."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import codes
from protocol.wire import Error
from store import Read, Result, Status
from store.layout import FROZEN, SPENT_UTXO_BYTES, TXID_BYTES, UTXO_BYTES, record_key
from workers.runtime.children.missing import as_child_error
from workers.runtime.context import DispatchContext
from workers.runtime.spending.missing_records import explain_missing_records
from workers.runtime.spending.output_place import OutputPlace, place_of
from workers.runtime.store_errors import error_of_record, error_of_unreadable

from .stored_transaction import StoredTransaction

# There is no such output in the set, or none that could be spent yet.
_NOT_THERE: Final = frozenset({codes.TX_NOT_FOUND, codes.UTXO_NOT_FOUND, codes.CREATING})


class Links(NamedTuple):
    """affected: outpoints [txid, vout] of parents that name this transaction; None where its inputs are not known.
    spenders: distinct txids."""

    affected: list[list[Any]] | None
    spenders: list[bytes]


class _Unreadable(Exception):
    """error: of the item that wants the record."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


def read_links(context: DispatchContext, transactions: Mapping[bytes, StoredTransaction]) -> dict[bytes, Links | Error]:
    """One read of each distinct record. transactions: by txid. A parent that is not in the set is no error; a child
    record that is missing is a fault. Raises StoreError."""
    parents = {
        outpoint: place_of(*outpoint, context.store.utxo_batch_size)
        for transaction in transactions.values()
        for outpoint in transaction.spent or ()
    }
    own = [
        record_key(txid, record)
        for txid, transaction in transactions.items()
        for record in range(transaction.child_count + 1)
    ]
    keys = list(dict.fromkeys([*own, *(place.record for place in parents.values())]))
    results = context.operate([Read(key, ("utxos",)) for key in keys])
    records = dict(zip(keys, results, strict=True))
    faults = _faults(context, parents, records)
    links: dict[bytes, Links | Error] = {}
    for txid, transaction in transactions.items():
        try:
            affected = _affected(txid, transaction, parents, records, faults)
            links[txid] = Links(affected, _spenders(txid, transaction.child_count, records))
        except _Unreadable as fault:
            links[txid] = fault.error
    return links


def _faults(
    context: DispatchContext, parents: Mapping[tuple[bytes, int], OutputPlace], records: Mapping[bytes, Result]
) -> dict[tuple[bytes, int], Error]:
    """Why the records of parents' outputs were not read, by outpoint."""
    faults = {
        outpoint: error_of_record(records[place.record], "parent")
        for outpoint, place in parents.items()
        if records[place.record].status is not Status.OK
    }
    explain_missing_records(context, parents, faults)
    return faults


def _affected(
    txid: bytes,
    transaction: StoredTransaction,
    parents: Mapping[tuple[bytes, int], OutputPlace],
    records: Mapping[bytes, Result],
    faults: Mapping[tuple[bytes, int], Error],
) -> list[list[Any]] | None:
    """Raises _Unreadable."""
    if transaction.spent is None:
        return None
    affected: list[list[Any]] = []
    for outpoint in transaction.spent:
        if outpoint in faults:
            if faults[outpoint].code in _NOT_THERE:
                continue
            raise _Unreadable(faults[outpoint])
        place = parents[outpoint]
        utxos = _utxos(records[place.record], "parent")
        if place.offset < len(utxos) and _spender(utxos[place.offset]) == txid:
            affected.append([*outpoint])
    return affected


def _spenders(txid: bytes, child_count: int, records: Mapping[bytes, Result]) -> list[bytes]:
    """Raises _Unreadable."""
    spenders: dict[bytes, None] = {}
    for child in range(child_count + 1):
        record = records[record_key(txid, child)]
        what = f"child record {child}" if child else "record"
        if record.status is not Status.OK:
            error = error_of_record(record, what)
            raise _Unreadable(as_child_error(error, child) if child else error)
        spenders.update((spender, None) for utxo in _utxos(record, what) if (spender := _spender(utxo)) is not None)
    return list(spenders)


def _utxos(record: Result, what: str) -> Sequence[bytes | None]:
    """Of a record that was read. Raises _Unreadable."""
    utxos = record.value.get("utxos") if type(record.value) is dict else None
    if type(utxos) is not list or not all(map(_is_utxo, utxos)):
        raise _Unreadable(error_of_unreadable(what, "its outputs are none"))
    return utxos


def _is_utxo(utxo: object) -> bool:
    return utxo is None or (type(utxo) is bytes and len(utxo) in (UTXO_BYTES, SPENT_UTXO_BYTES))


def _spender(utxo: bytes | None) -> bytes | None:
    """Its txid; None where nobody has spent the output."""
    if utxo is None or len(utxo) == UTXO_BYTES or utxo.endswith(FROZEN):
        return None
    return utxo[UTXO_BYTES : UTXO_BYTES + TXID_BYTES]
