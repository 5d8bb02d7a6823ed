"""The rules that set what a whole transaction is: conflicting, preserved or locked."""

from typing import Final

from store.lmdb.record import Bins, Record

from .answers import Answer, add_signal, refuse_missing, refuse_parameter
from .arguments import check_heights, is_hash, is_index
from .delete_at_height import conclude, dah_signal, keep_lock_height
from .presence import is_there

MAX_CONFLICTING_CHILDREN: Final = 1000  # a parent's growth is bounded: it must stay spendable


def set_conflicting(record: Record | None, value: bool, current: int, retention: int) -> Answer:
    if type(value) is not bool:
        return refuse_parameter("value is no boolean")
    if not is_there(record):
        return refuse_missing()
    record.bins.conflicting = value
    record.is_changed = True
    return conclude(record, {"status": "OK"}, current, retention)


def note_conflicting(record: Record | None, child_txid: bytes) -> Answer:
    """Notes a conflicting transaction (its txid, wire order) with one of its parents, once."""
    if not is_hash(child_txid):
        return refuse_parameter("child txid is not 32 bytes")
    if not is_there(record):
        return refuse_missing()
    rest = record.rest
    children = rest.get("conflictingCs") or []
    if child_txid in children:
        return {"status": "OK"}
    if len(children) < MAX_CONFLICTING_CHILDREN:
        rest["conflictingCs"] = [*children, child_txid]
    else:
        rest["conflictingMore"] = (rest.get("conflictingMore") or 0) + 1
    record.is_changed = True
    return {"status": "OK"}


def preserve_until(record: Record | None, block_height: int) -> Answer:
    if not is_index(block_height):
        return refuse_parameter("block height is no unsigned integer")
    if not is_there(record):
        return refuse_missing()
    bins = record.bins
    signal = None if bins.deleteAtHeight is None else dah_signal(bins, False)
    bins.deleteAtHeight = None
    bins.preserveUntil = block_height
    record.is_changed = True
    return add_signal({"status": "OK", "childCount": bins.totalExtraRecs or 0}, record, signal)


def expire_preservation(record: Record | None, current: int, retention: int) -> Answer:
    """Where preserveUntil has come: one that is kept for longer, or not at all, stays as it is."""
    if not is_there(record):
        return refuse_missing()
    check_heights(current, retention)
    bins = record.bins
    if bins.preserveUntil is None or bins.preserveUntil > current:
        return {"status": "OK"}
    bins.preserveUntil = None
    record.is_changed = True
    return conclude(record, {"status": "OK"}, current, retention)


def set_locked(record: Record | None, value: bool, current: int, retention: int, lock_seq: int | None = None) -> Answer:
    """lock_seq: on a child record, the master's; only a newer one than the child's own counts, so that the locks of two
    callers end as the master's did."""
    if type(value) is not bool or not (lock_seq is None or is_index(lock_seq)):
        return refuse_parameter("value is no boolean, or lockSeq no unsigned integer")
    if not is_there(record):
        return refuse_missing()
    check_heights(current, retention)
    bins = record.bins
    answer: Answer = {"status": "OK"}
    if bins.totalExtraRecs is not None:
        answer["lockSeq"] = raise_lock_seq(bins)
    elif lock_seq is not None:
        if lock_seq <= (bins.lockSeq or 0):
            return conclude(record, answer, current, retention)
        bins.lockSeq = lock_seq
    bins.locked = value
    answer["childCount"] = bins.totalExtraRecs or 0
    record.is_changed = True
    if value:
        return _lock(record, answer, current, retention)
    height = _known_height(bins, current)
    bins.lockHeight = None
    return conclude(record, answer, height, retention)


def raise_lock_seq(bins: Bins) -> int:
    bins.lockSeq = (bins.lockSeq or 0) + 1
    return bins.lockSeq


def _lock(record: Record, answer: Answer, current: int, retention: int) -> Answer:
    bins = record.bins
    before, signal = bins.deleteAtHeight, None
    if before is not None and bins.totalExtraRecs is not None:
        signal = dah_signal(bins, False)
        keep_lock_height(bins, before - retention)
    bins.deleteAtHeight = None
    conclude(record, answer, current, retention)
    return add_signal(answer, record, signal)


def _known_height(bins: Bins, current: int) -> int:
    """The height from which a transaction that is unlocked counts, where the caller knows of none: what the lock has
    kept, its highest block, or since when it is in none."""
    return max(current, bins.lockHeight or 0, bins.unminedSince or 0, *(bins.blockHeights or ()))
