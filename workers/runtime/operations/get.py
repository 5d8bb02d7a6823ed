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
from store import Read, Status, StoreError
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, array_field, optional_field, string_field, txid_field
from workers.runtime.outputs.whole_transactions import UNREADABLE, WHOLE_BINS, Damaged, read_whole
from workers.runtime.store_errors import error_of_record, error_of_unreadable

_RAW: Final = "tx"
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


_NAME: Final = string_field("fields: a name", 1, _MAX_NAME)
SHAPE: Final = Shape(txid_field(), optional_field(array_field("fields", _NAME, 0, _MAX_FIELDS)))


def run(context: DispatchContext) -> None:
    batch = context.batch
    batch.fail_bad_items()
    indices: list[int] = []
    reads: list[Read] = []
    latest: Any = None
    bins: Sequence[str] = METADATA_BINS
    for index, (txid, fields) in batch.good_items():
        if fields != latest:  # callers that ask together ask the same
            latest, bins = fields, _bins(fields)
        indices.append(index)
        reads.append(Read(txid, bins))
    for index, read, result in zip(indices, reads, context.operate(reads), strict=True):
        found = result.value
        if result.status is not Status.OK:
            batch.fail(index, error_of_record(result, "record"))
        elif type(found) is not dict:
            batch.fail(index, error_of_unreadable("record", f"a {type(found).__name__}, where a map was expected"))
        elif type(read.bins) is _WithRaw:
            _complete_raw(context, index, read.bins.fields, read.key, found)
        else:
            batch.complete(index, found)


class _WithRaw(list[str]):
    """The bins to read where a transaction's raw form is asked for. fields: those that were asked for."""

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__([*fields, *WHOLE_BINS])
        self.fields = fields


def _bins(fields: Sequence[str] | None) -> Sequence[str]:
    if fields is None:
        return METADATA_BINS
    return _WithRaw(fields) if _RAW in fields else fields


def _complete_raw(
    context: DispatchContext, index: int, fields: Sequence[str], txid: bytes, bins: dict[str, Any]
) -> None:
    found = {name: bins[name] for name in fields if name in bins}
    try:
        whole = read_whole(context, txid, bins)
    except (Damaged, StoreError, *UNREADABLE) as error:
        context.batch.fail(index, Error(codes.STORE_ERROR, NO, f"transaction: {error}"))
        return
    if whole is not None:
        found[_RAW] = whole.raw
    context.batch.complete(index, found)
