"""set_dah: sets or removes the delete-at-height of one record. Update-only: a record that is missing is an error, never
a new record; a child record that its master says there is, is a fault.

Item [txid, child index (0: the master), height (0 removes)]; result true.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Read, Result, Status, Write
from store.layout import TXID_BYTES, child_index
from workers.runtime.children.delete_at_height import write_of_dah
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import MAX_UINT32
from workers.runtime.item_shape import Shape, txid_field, uint_field
from workers.runtime.store_errors import error_of_record, error_of_unreadable

# The highest is the key of the creation lock.
SHAPE: Final = Shape(txid_field(), uint_field("child index", MAX_UINT32 - 1), uint_field("height"))


def run(context: DispatchContext) -> None:
    writes = context.batch.parse(_write)
    told = context.operate(list(writes.values()))
    results = {index: _as_missing(result) for index, result in zip(writes, told, strict=True)}
    missing = {index: writes[index].key for index, result in results.items() if result.status is Status.NOT_FOUND}
    errors = _explain_missing_children(context, missing)
    for index, result in results.items():
        if result.status is Status.OK:
            context.batch.complete(index, True)
        else:
            context.batch.fail(index, errors.get(index) or error_of_record(result, "record"))


def _as_missing(result: Result) -> Result:
    """What bars a master's creation is no master."""
    return Result(Status.NOT_FOUND, key=result.key) if result.status is Status.CONDITION_FALSE else result


def _write(item: Sequence[Any]) -> Write:
    txid, child, height = item
    return write_of_dah(txid, child, height)


def _explain_missing_children(context: DispatchContext, missing: Mapping[int, bytes]) -> dict[int, Error]:
    """missing: keys of records that are not there. Of the child records among them: why, by their masters."""
    children = [(index, key) for index, key in missing.items() if child_index(key)]
    masters = context.try_operate([Read(key[:TXID_BYTES], ("totalExtraRecs",)) for _, key in children])
    errors: dict[int, Error] = {}
    for (index, key), master in zip(children, masters, strict=True):
        if master.status is not Status.OK:
            errors[index] = error_of_record(master, "record")
            continue
        children = master.value.get("totalExtraRecs", 0)
        if type(children) is not int:
            errors[index] = error_of_unreadable("record", "it does not tell how many child records there are")
        elif child_index(key) <= children:
            errors[index] = Error(codes.STORE_ERROR, NO, f"child record {child_index(key)} is missing")
    return errors
