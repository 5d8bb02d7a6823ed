"""A transaction as it is kept: what it spends, and how many child records it has."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Read, Result, Status
from workers.runtime.context import DispatchContext
from workers.runtime.outputs.whole_transactions import UNREADABLE, WHOLE_BINS, Damaged, read_whole
from workers.runtime.store_errors import error_of_record, error_of_unreadable

_BINS: Final = (*WHOLE_BINS, "totalExtraRecs", "creating")


class StoredTransaction(NamedTuple):
    """spent: the outpoints (txid, vout) of its inputs, in their order; none of a coinbase. None where they are not
    known: of one that was created in part."""

    child_count: int
    spent: Sequence[tuple[bytes, int]] | None


def read_transactions(
    context: DispatchContext, txids: Iterable[bytes]
) -> tuple[dict[bytes, StoredTransaction], dict[bytes, Error]]:
    """Those that can be read, and why the others can't, by txid. It comes before all else: nothing is executed yet.

    What is read is checked against its txid; a blob that is missing is a fault. CREATING while not all of the records
    need be there. Raises StoreError."""
    distinct = list(dict.fromkeys(txids))
    stored: dict[bytes, StoredTransaction] = {}
    errors: dict[bytes, Error] = {}
    for txid, result in zip(distinct, context.read([Read(txid, _BINS) for txid in distinct]), strict=True):
        found = _understand(context, txid, result)
        if isinstance(found, Error):
            errors[txid] = found
        else:
            stored[txid] = found
    return stored, errors


def _understand(context: DispatchContext, txid: bytes, result: Result) -> StoredTransaction | Error:
    if result.status is not Status.OK:
        return error_of_record(result, "record")
    bins = result.value
    if type(bins) is not dict or type(bins.get("totalExtraRecs") or 0) is not int:
        return error_of_unreadable("record", "it does not tell how many child records there are")
    if bins.get("creating"):
        return Error(codes.CREATING, NO, "the transaction is still being created")
    try:
        whole = read_whole(context, txid, bins)
    except (Damaged, *UNREADABLE) as damage:
        return Error(codes.STORE_ERROR, NO, f"transaction: {damage}")
    child_count = bins.get("totalExtraRecs") or 0
    if whole is None:
        return StoredTransaction(child_count, None)
    return StoredTransaction(child_count, [] if whole.is_coinbase else whole.outpoints)
