"""The delete-at-height rule, which ends every rule that can change what it goes by.

A child record has none of its own: it tells its master when its state (all spent, or not) changes."""

from store.lmdb.record import Bins, Record

from .answers import Answer, add_signal
from .arguments import check_heights


def conclude(record: Record, answer: Answer, current: int, retention: int) -> Answer:
    """Ends a rule: changes what follows from the state, and adds the signal. current: the height that counts.
    retention: blocks to keep a transaction that is done, 0: for ever. Raises TypeError where they are no integers."""
    check_heights(current, retention)
    total_extra_recs = record.bins.totalExtraRecs
    if total_extra_recs is None:
        return _update_state(record, answer)
    return _update_height(record, total_extra_recs, answer, current, retention)


def dah_signal(bins: Bins, is_set: bool) -> str | None:
    """The signal for a master's children, where its delete-at-height has changed."""
    if not bins.external:
        return None
    return "DAHSET" if is_set else "DAHUNSET"


def keep_lock_height(bins: Bins, height: int) -> bool:
    """While a record is locked it gets no delete-at-height; what it is to count from is kept for the unlocking. Whether
    a bin was assigned."""
    if height <= (bins.lockHeight or 0):
        return False
    bins.lockHeight = height
    return True


def _update_state(record: Record, answer: Answer) -> Answer:
    """stateSeq is compared with the state, not counted: another program may have been here."""
    bins = record.bins
    is_all_spent = bins.spentUtxos == bins.recordUtxos
    seq = bins.stateSeq or 0
    if (seq % 2 == 1) is not is_all_spent:
        seq += 1
        bins.stateSeq = seq
        record.is_changed = True
    answer["stateSeq"] = seq
    state = "ALLSPENT" if is_all_spent else "NOTALLSPENT"
    # Before the first signal a child counts as not spent, but for one that never had a UTXO.
    before = bins.lastSpentState
    if before is None:
        before = "ALLSPENT" if bins.recordUtxos == 0 else "NOTALLSPENT"
    if state == before:
        return answer
    bins.lastSpentState = state
    record.is_changed = True
    return add_signal(answer, record, state)


def _update_height(record: Record, total_extra_recs: int, answer: Answer, current: int, retention: int) -> Answer:
    bins = record.bins
    if bins.locked:
        if keep_lock_height(bins, current):
            record.is_changed = True
        return answer
    if retention == 0 or bins.preserveUntil is not None:
        return answer
    before = bins.deleteAtHeight
    after = None
    if bins.conflicting:
        after = current + retention if before is None else before
    elif _is_finished(bins, total_extra_recs):
        after = max(before or 0, current + retention)
    if after == before:
        return answer
    bins.deleteAtHeight = after
    record.is_changed = True
    return add_signal(answer, record, dah_signal(bins, after is not None))


def _is_finished(bins: Bins, total_extra_recs: int) -> bool:
    """All spent, its own outputs and its children's, in a block and on the longest chain."""
    return (
        bins.spentUtxos == bins.recordUtxos
        and (bins.spentExtraRecs or 0) == total_extra_recs
        and bool(bins.blockIDs)
        and bins.unminedSince is None
    )
