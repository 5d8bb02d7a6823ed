"""The delete-at-height of a transaction: its child records have their master's."""

from protocol.wire import Error
from store import Mode, Read, Status, Write
from store.layout import ABANDONED, record_key
from workers.runtime.context import DispatchContext
from workers.runtime.store_errors import error_of_record, error_of_unreadable

from .missing import as_child_error


def write_of_dah(txid: bytes, child: int, height: int) -> Write:
    """Update-only. child: its index, 0 for the master. height: 0 removes the delete-at-height."""
    # What stands at a master's key and bars its creation would else become a record that the rules take for one.
    condition = None if child else {ABANDONED: None}
    return Write(record_key(txid, child), {"deleteAtHeight": height or None}, Mode.UPDATE, condition)


def set_children_dah(context: DispatchContext, txid: bytes, child_count: int) -> Error | None:
    """Gives all child records their master's delete-at-height: as it is now, and once more if it has changed
    meanwhile."""
    dah, error = _read_master(context, txid)
    while error is None and child_count:
        error = _write_children(context, txid, child_count, dah)
        if error is None:
            written = dah
            dah, error = _read_master(context, txid)
            if error is None and dah == written:
                break
    return error


def _write_children(context: DispatchContext, txid: bytes, child_count: int, dah: int) -> Error | None:
    """The last one after all others: it tells that they have it (last_child.py)."""
    for children in (range(1, child_count), range(child_count, child_count + 1)):
        writes = [write_of_dah(txid, child, dah) for child in children]
        for child, result in zip(children, context.operate(writes), strict=True):
            if result.status is not Status.OK:
                return as_child_error(error_of_record(result, f"child record {child}"), child)
    return None


def _read_master(context: DispatchContext, txid: bytes) -> tuple[int, Error | None]:
    (master,) = context.operate([Read(txid, ("deleteAtHeight",))])
    if master.status is not Status.OK:
        return 0, error_of_record(master, "master record")
    dah = master.value.get("deleteAtHeight") or 0 if type(master.value) is dict else None
    if type(dah) is not int:
        return 0, error_of_unreadable("master record", "its delete-at-height is no integer")
    return dah, None
