"""The rules setMined and markLongestChain: which blocks a transaction is in, and whether on the longest chain."""

from store.lmdb.record import Bins, Record

from .answers import Answer, refuse, refuse_missing, refuse_parameter
from .arguments import is_index
from .delete_at_height import conclude
from .flags import raise_lock_seq
from .presence import is_there


def set_mined(
    record: Record | None,
    block_id: int,
    block_height: int,
    subtree_idx: int,
    current: int,
    retention: int,
    on_longest_chain: bool,
    unset_mined: bool,
) -> Answer:
    """on_longest_chain: where a block is set, that this one is on it; where it is unset, that the transaction still is,
    by another block. The delete-at-height counts from the mined block's height, and not from less than a lock has
    kept."""
    if not all(map(is_index, (block_id, block_height, subtree_idx, current))):
        return refuse_parameter("block id, block height, subtree index or current height is no unsigned integer")
    if not is_there(record):
        return refuse_missing()
    bins = record.bins
    if bins.creating:
        return refuse("CREATING", "the transaction is still being created")
    counted_from = max(block_height, bins.lockHeight or 0)
    if unset_mined is True:
        _unmine(bins, block_id, current, on_longest_chain is True)
    else:
        _mine(bins, block_id, block_height, subtree_idx, on_longest_chain is True)
    record.is_changed = True
    answer = {
        "status": "OK",
        "blockIDs": bins.blockIDs or [],
        "childCount": bins.totalExtraRecs or 0,
        "lockSeq": bins.lockSeq or 0,
    }
    return conclude(record, answer, counted_from, retention)


def mark_longest_chain(record: Record | None, on_longest_chain: bool, current: int, retention: int) -> Answer:
    """What is still being created is marked like any other, though setMined refuses it: no child is unlocked here that
    may not be there yet, and what finishes a creation leaves the mark as it is. A refusal would lose what became of the
    chain."""
    if type(on_longest_chain) is not bool or not is_index(current):
        return refuse_parameter("onLongestChain is no boolean, or the current height no unsigned integer")
    if not is_there(record):
        return refuse_missing()
    bins = record.bins
    if not on_longest_chain:
        _leave_longest_chain(bins, current)
    elif bins.blockIDs:
        bins.unminedSince = None
    else:
        return refuse_parameter("the transaction is in no block, so it is not on the longest chain")
    record.is_changed = True
    return conclude(record, {"status": "OK", "childCount": bins.totalExtraRecs or 0}, current, retention)


def _mine(bins: Bins, block_id: int, block_height: int, subtree_idx: int, on_longest_chain: bool) -> None:
    block_ids = bins.blockIDs or []
    if block_id not in block_ids:
        bins.blockIDs = [*block_ids, block_id]
        bins.blockHeights = [*(bins.blockHeights or []), block_height]
        bins.subtreeIdxs = [*(bins.subtreeIdxs or []), subtree_idx]
    if on_longest_chain:
        bins.unminedSince = None
    # A child's unlocking may have been lost: it is asked for again.
    if bins.locked or (bins.totalExtraRecs or 0) > 0:
        raise_lock_seq(bins)
    bins.locked = False
    bins.lockHeight = None


def _unmine(bins: Bins, block_id: int, current: int, on_longest_chain: bool) -> None:
    was_listed = _remove_block(bins, block_id)
    is_blockless = not bins.blockIDs
    if (was_listed or is_blockless) and (is_blockless or not on_longest_chain):
        _leave_longest_chain(bins, current)


def _leave_longest_chain(bins: Bins, current: int) -> None:
    """The earliest height stays."""
    if bins.unminedSince is None:
        bins.unminedSince = current


def _remove_block(bins: Bins, block_id: int) -> bool:
    """Whether it was listed."""
    block_ids = bins.blockIDs or []
    if block_id not in block_ids:
        return False
    position = block_ids.index(block_id)
    for listed in (bins.blockIDs, bins.blockHeights, bins.subtreeIdxs):
        del listed[position : position + 1]  # type: ignore[union-attr]  # may be shorter; fails where there is none
    return True
