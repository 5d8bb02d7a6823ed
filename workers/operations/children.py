"""Follow-up work on all child records of a transaction: locking, and delete-at-height.

Items [txid, child count, value] and [txid, child count]; result true. A child that is missing, or whose result is, is
an error: the whole item is not done unless every child is.
"""

from collections.abc import Sequence
from typing import Final

from protocol import codes
from protocol.codes import UNKNOWN
from protocol.wire import Error
from store import Call, Read, Record, Result, Status
from store.layout import child_key

from ..items import BadItem, check_bool, check_fields, check_txid, check_uint
from ..work import Answer, Work, failure, malformed, read_answer
from .set_dah import dah_write

ALL_SPENT: Final = "ALLSPENT"
NOT_ALL_SPENT: Final = "NOTALLSPENT"
DAH_SET: Final = "DAHSET"
DAH_UNSET: Final = "DAHUNSET"
_MAX_CHILDREN: Final = 1 << 25


def owe_what_follows(work: Work, txid: bytes, answer: Answer, height: int) -> None:
    """What follows from a rule's signal, as work for the `children` pool: the master's counter, or the children's and
    the blob's delete-at-height. height: of the block the rule was called for."""
    if answer.signal in (ALL_SPENT, NOT_ALL_SPENT):
        delta = 1 if answer.signal == ALL_SPENT else -1
        work.batch.owe("increment", txid, 1, [txid, delta, height])
    elif answer.signal in (DAH_SET, DAH_UNSET) and answer.child_count is not None:
        work.batch.owe("set_dah_children", txid, max(1, answer.child_count), [txid, answer.child_count])


def set_children_dah(work: Work, txid: bytes, children: int) -> Error | None:
    """Gives all child records, and the blob, their master's delete-at-height.

    It is read here, not taken from the signal: two workers' signals may come in another order than the master changed
    in. What is done last for a master comes after its last change, so it finds what that left."""
    (master,) = work.operate([Read(txid, ("deleteAtHeight",))])
    if master.status is not Status.OK:
        return failure(master, "master record")
    dah = master.value.get("deleteAtHeight") or 0 if type(master.value) is dict else None
    if type(dah) is not int:
        return malformed("master record", "its delete-at-height is no integer")
    error = _first_error(work, [dah_write(txid, child, dah) for child in range(1, children + 1)])
    if error is None:
        try:
            work.store.blobs.set_delete_at_height(txid, dah)
        except OSError as fault:
            error = Error(codes.STORE_ERROR, UNKNOWN, f"blob: {fault}")
    return error


def run_lock(work: Work) -> None:
    batch = work.batch
    for index in batch.open():
        try:
            txid, children, value = check_fields(batch.items[index], "txid", "child count", "value")
            check_txid(txid)
            check_uint(children, "child count", _MAX_CHILDREN)
            check_bool(value, "value")
        except BadItem as fault:
            batch.fail(index, fault.error)
            continue
        calls = [Call(child_key(txid, child), "setLocked", (value,)) for child in range(1, children + 1)]
        _finish(work, index, _first_error(work, calls))


def run_set_dah(work: Work) -> None:
    batch = work.batch
    for index in batch.open():
        try:
            txid, children = check_fields(batch.items[index], "txid", "child count")
            check_txid(txid)
            check_uint(children, "child count", _MAX_CHILDREN)
        except BadItem as fault:
            batch.fail(index, fault.error)
            continue
        _finish(work, index, set_children_dah(work, txid, children))


def _finish(work: Work, index: int, error: Error | None) -> None:
    if error is not None:
        work.batch.fail(index, error)
    else:
        work.batch.complete(index, True)


def _first_error(work: Work, records: Sequence[Record]) -> Error | None:
    """What went wrong with the first child that is not done; None where all are."""
    for child, (record, result) in enumerate(zip(records, work.operate(records), strict=True), start=1):
        error = _error_of(record, result, f"child record {child}")
        if error is not None:
            return error
    return None


def _error_of(record: Record, result: Result, what: str) -> Error | None:
    if isinstance(record, Call):
        return read_answer(result, what).error
    return None if result.status is Status.OK else failure(result, what)
