"""get: the metadata of a transaction, from its master record.

Item [txid, fields or nil]; result: a map from bin to value. Without fields: every bin but the large ones. The field
"tx" is the raw transaction, from the record or from the blob store, checked against its txid; a transaction of which
only some outputs are known has no such field. Where it can't be read, that is a fault (P15).
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Read, Result, Status
from store.layout import raw_transaction
from store.transaction import parse_transaction
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import BadItem, check_fields, check_txid
from workers.runtime.store_errors import error_of_record, error_of_unreadable

_RAW: Final = "tx"
_RAW_BINS: Final = ("external", "version", "locktime", "extendedSize", "inputs", "outputs")
_MAX_FIELDS: Final = 64
# Bin names are at most 15 characters.
_MAX_NAME: Final = 15

METADATA_BINS: Final = (
    "txID",
    "version",
    "locktime",
    "fee",
    "sizeInBytes",
    "extendedSize",
    "isCoinbase",
    "spendingHeight",
    "recordUtxos",
    "spentUtxos",
    "conflicting",
    "locked",
    "creating",
    "totalExtraRecs",
    "spentExtraRecs",
    "totalUtxos",
    "blockIDs",
    "blockHeights",
    "subtreeIdxs",
    "createdAt",
    "unminedSince",
    "external",
    "deleteAtHeight",
    "preserveUntil",
    "reassignments",
    "utxoSpendableIn",
    "deletedChildren",
    "conflictingCs",
    "conflictingMore",
    "joined",
    "reassigned",
    "childStates",
    "lockSeq",
)


def run(context: DispatchContext) -> None:
    batch = context.batch
    indices: list[int] = []
    reads: list[Read] = []
    latest: Any = None
    bins: Sequence[str] = METADATA_BINS
    for index in batch.uncompleted():
        try:
            txid, fields = check_fields(batch.items[index], "txid", "fields")
            check_txid(txid)
            if fields != latest:  # callers that ask together ask the same
                bins = METADATA_BINS if fields is None else _bins(fields)
                latest = fields
        except BadItem as fault:
            batch.fail(index, fault.error)
            continue
        indices.append(index)
        reads.append(Read(txid, bins))
    for index, read, result in zip(indices, reads, context.operate(reads), strict=True):
        _complete(context, index, read, result)


def _bins(fields: Any) -> list[str]:
    if type(fields) is not list or len(fields) > _MAX_FIELDS:
        raise BadItem(f"fields: neither nil nor an array of at most {_MAX_FIELDS} names")
    for name in fields:
        if type(name) is not str or not 0 < len(name) <= _MAX_NAME:
            raise BadItem(f"fields: a name is not a string of 1 to {_MAX_NAME} characters")
    return [*fields, *_RAW_BINS] if _RAW in fields else fields


def _complete(context: DispatchContext, index: int, read: Read, result: Result) -> None:
    bins = result.value
    if result.status is not Status.OK:
        context.batch.fail(index, error_of_record(result, "record"))
    elif type(bins) is not dict:
        context.batch.fail(index, error_of_unreadable("record", f"a {type(bins).__name__}, where a map was expected"))
    elif _RAW in (fields := context.batch.items[index][1] or ()):
        _complete_raw(context, index, fields, read.key, bins)
    else:
        context.batch.complete(index, bins)


def _complete_raw(
    context: DispatchContext, index: int, fields: Sequence[str], txid: bytes, bins: dict[str, Any]
) -> None:
    found = {name: bins[name] for name in fields if name in bins}
    try:
        raw = context.store.blobs.get(txid) if bins.get("external") else raw_transaction(bins)
        if raw is None and "version" in bins:
            raise ValueError("the store has only some of its outputs, where it is known as a whole")
        if raw is not None and parse_transaction(raw).txid != txid:
            raise ValueError("what the store has is another one")
    except (ValueError, KeyError, TypeError, OSError) as error:
        context.batch.fail(index, Error(codes.STORE_ERROR, NO, f"transaction: {error}"))
        return
    if raw is not None:
        found[_RAW] = raw
    context.batch.complete(index, found)
