"""Follow-up work on the child records of a transaction: what their master hears of them, their locks, and their
delete-at-height.

Items: note_child [txid, [[child index, stateSeq], ...], height]; lock_children [txid, child count, value, lockSeq];
set_dah_children [txid, child count]. Result true. A child that is missing is a fault, and the whole item is not done
unless every child is; a master that is gone has nothing to hear any more.

None of it depends on the order in which it is done: of notes and locks the newest wins, and a delete-at-height is read
from the master when it is written, and again afterwards.
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol import codes
from protocol.codes import UNKNOWN
from protocol.wire import Error
from store import Read, RuleCall, Status
from store.layout import child_index, child_key
from workers.runtime.checks import BadItem, check_bool, check_fields, check_height, check_txid, check_uint
from workers.runtime.context import Answer, Work, failure, malformed, read_answer

from .set_dah import dah_write

DAH_SET: Final = "DAHSET"
DAH_UNSET: Final = "DAHUNSET"
RECOUNT: Final = "RECOUNT"
MAX_CHILDREN: Final = 1 << 25
_MAX_SEQ: Final = (1 << 53) - 1
_NO_HEIGHT: Final = 0


def owe_what_follows(work: Work, record: bytes, answer: Answer, height: int, *, was_done: bool = False) -> None:
    """What follows from a rule's answer, as work for the `children` pool: a note for the master, or the children's
    delete-at-height. record: the key that the rule was called on. height: of the block that it was called for.
    was_done: it found something done already: the note of that may have been lost."""
    txid = record[:32]
    if answer.state_seq is not None:
        if answer.signal is not None or was_done:
            work.note(txid, child_index(record), answer.state_seq, height)
    elif answer.signal in (DAH_SET, DAH_UNSET) and answer.child_count is not None:
        work.batch.owe("set_dah_children", txid, max(1, answer.child_count), [txid, answer.child_count])


def note_children(work: Work, txid: bytes, answer: Answer, height: int) -> tuple[Error | None, str | None]:
    """Goes on from a master's answer to `noteChild` or `incrementSpentExtraRecs`: recounts where it asks for that, and
    gives the children its delete-at-height where it says so. Returns what went wrong, and the master's signal."""
    children, signal = answer.child_count or 0, answer.signal
    if signal == RECOUNT:
        recount = _recount(work, txid, children, height)
        if recount.error is not None:
            return recount.error._replace(executed=UNKNOWN), None
        signal = recount.signal
    if signal not in (DAH_SET, DAH_UNSET):
        return None, signal
    error = set_children_dah(work, txid, children)
    # The master itself has been changed.
    return error and error._replace(executed=UNKNOWN), signal


def _recount(work: Work, txid: bytes, children: int, height: int) -> Answer:
    """Asks every child, and notes all of their answers in one call."""
    calls = [
        RuleCall(child_key(txid, child), "tellState", (height, work.retention)) for child in range(1, children + 1)
    ]
    notes: list[Any] = []
    for child, result in enumerate(work.operate(calls), start=1):
        answer = read_answer(result, f"child record {child}")
        if answer.error is not None:
            return Answer(_missing_child(answer.error, child))
        if answer.state_seq is None:
            return Answer(malformed(f"child record {child}", "it does not tell its state"))
        notes.append([child, answer.state_seq])
    (result,) = work.operate([RuleCall(txid, "noteChild", (notes, height, work.retention))])
    return read_answer(result, "master record")


def set_children_dah(work: Work, txid: bytes, children: int) -> Error | None:
    """Gives all child records their master's delete-at-height: as it is now, and once more if it has changed
    meanwhile."""
    dah, error = _master_dah(work, txid)
    while error is None and children:
        error = _write_dah(work, txid, children, dah)
        if error is None:
            written = dah
            dah, error = _master_dah(work, txid)
            if error is None and dah == written:
                break
    return error


def _write_dah(work: Work, txid: bytes, children: int, dah: int) -> Error | None:
    writes = [dah_write(txid, child, dah) for child in range(1, children + 1)]
    for child, result in enumerate(work.operate(writes), start=1):
        if result.status is not Status.OK:
            return _missing_child(failure(result, f"child record {child}"), child)
    return None


def _master_dah(work: Work, txid: bytes) -> tuple[int, Error | None]:
    (master,) = work.operate([Read(txid, ("deleteAtHeight",))])
    if master.status is not Status.OK:
        return 0, failure(master, "master record")
    dah = master.value.get("deleteAtHeight") or 0 if type(master.value) is dict else None
    if type(dah) is not int:
        return 0, malformed("master record", "its delete-at-height is no integer")
    return dah, None


def run_note(work: Work) -> None:
    batch = work.batch
    noted: list[tuple[int, RuleCall, int]] = []
    for index in batch.open():
        try:
            txid, notes, height = check_fields(batch.items[index], "txid", "notes", "height")
            call = RuleCall(check_txid(txid), "noteChild", (_check_notes(notes), check_height(height), work.retention))
            noted.append((index, call, height))
        except BadItem as fault:
            batch.fail(index, fault.error)
    for (index, call, height), result in zip(noted, work.operate([call for _, call, _ in noted]), strict=True):
        answer = read_answer(result, "master record")
        error = answer.error
        if error is None:
            error, _ = note_children(work, call.key, answer, height)
        if error is not None and error.code == codes.TX_NOT_FOUND:
            error = None
        _finish(work, index, error)


def _check_notes(notes: Any) -> list[Any]:
    if type(notes) is not list or not 0 < len(notes) <= MAX_CHILDREN:
        raise BadItem("notes: not an array of at least one")
    for note in notes:
        child, seq = check_fields(note, "child index", "stateSeq")
        check_uint(child, "notes: child index", MAX_CHILDREN)
        check_uint(seq, "notes: stateSeq", _MAX_SEQ)
    return notes


def run_lock(work: Work) -> None:
    batch = work.batch
    for index in batch.open():
        try:
            txid, children, value, seq = check_fields(batch.items[index], "txid", "child count", "value", "lockSeq")
            check_txid(txid)
            check_uint(children, "child count", MAX_CHILDREN)
            args = (check_bool(value, "value"), _NO_HEIGHT, work.retention, check_uint(seq, "lockSeq", _MAX_SEQ))
        except BadItem as fault:
            batch.fail(index, fault.error)
            continue
        calls = [RuleCall(child_key(txid, child), "setLocked", args) for child in range(1, children + 1)]
        _finish(work, index, _first_error(work, calls))


def run_set_dah(work: Work) -> None:
    batch = work.batch
    for index in batch.open():
        try:
            txid, children = check_fields(batch.items[index], "txid", "child count")
            check_txid(txid)
            check_uint(children, "child count", MAX_CHILDREN)
        except BadItem as fault:
            batch.fail(index, fault.error)
            continue
        error = set_children_dah(work, txid, children)
        if error is not None and error.code == codes.TX_NOT_FOUND:
            error = None
        _finish(work, index, error)


def _finish(work: Work, index: int, error: Error | None) -> None:
    if error is not None:
        work.batch.fail(index, error)
    else:
        work.batch.complete(index, True)


def _first_error(work: Work, calls: Sequence[RuleCall]) -> Error | None:
    """What went wrong with the first child that is not done; None where all are."""
    for child, result in enumerate(work.operate(calls), start=1):
        error = read_answer(result, f"child record {child}").error
        if error is not None:
            return _missing_child(error, child)
    return None


def _missing_child(error: Error, child: int) -> Error:
    """Absence of a part is a fault, never "there is no such transaction"."""
    if error.code != codes.TX_NOT_FOUND:
        return error
    return Error(codes.STORE_ERROR, error.executed, f"child record {child} is missing")
