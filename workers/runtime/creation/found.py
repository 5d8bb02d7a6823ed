"""A transaction that is there already: what its record says, and what another attempt may have left to be done: an
unfinished creation, a note in the parents of a conflicting one, a blob that was lost. It is never created anew."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from protocol import codes
from protocol.wire import Error
from store import Read
from store.transaction import Transaction
from workers.runtime.conflicts.noting import note_conflicting
from workers.runtime.context import DispatchContext

from .blobs import make_blob_own
from .candidate import Candidate, ItemErrors
from .master import MASTER_BINS, Master, read_master
from .under_lock import finish_under_lock


def look_up(context: DispatchContext, txids: Iterable[bytes]) -> dict[bytes, Master | Error | None]:
    """What there is of these transactions; None: there is none. An error says that nobody can tell, or that it is being
    abandoned."""
    distinct = list(dict.fromkeys(txids))
    results = context.try_operate([Read(txid, MASTER_BINS) for txid in distinct])
    return dict(zip(distinct, map(read_master, results), strict=True))


def is_to_be_completed(candidate: Candidate, master: Master) -> bool:
    """Whether completing it may write something of the set."""
    return bool(master.creating or (candidate.conflicting and master.conflicting))


def complete_found(context: DispatchContext, found: Sequence[tuple[Candidate, Master]]) -> ItemErrors:
    """Completes what other attempts may have left, step by step: of one that fails no further step is taken, so what
    its error says is all that there is to say. Returns, by item, why it is not complete."""
    unfinished = [candidate for candidate, master in found if master.creating]
    finished = finish_under_lock(context, unfinished)
    errors = {index: error for index, error in finished.items() if error.code != codes.TX_EXISTS}
    there = [(candidate, master) for candidate, master in found if candidate.item_index not in errors]
    errors |= note_in_parents(
        context, [candidate for candidate, master in there if candidate.conflicting and master.conflicting]
    )
    for candidate, master in there:
        if master.external:
            _bring_blob_back(context, candidate)
    return errors


def _bring_blob_back(context: DispatchContext, candidate: Candidate) -> None:
    """A whole one is what it is by its txid; what the outputs of a partial one are worth, and what the extended format
    says of the inputs, nobody has checked. Where it can't be kept now, the answer is right all the same: the
    transaction is there."""
    source = candidate.source
    if not isinstance(source, Transaction):
        return
    with context.store_time():
        is_whole = context.store.blobs.has_whole(candidate.txid)
    if not is_whole:
        make_blob_own(context, replace(candidate, source=source.in_standard_format()))


def note_in_parents(context: DispatchContext, candidates: Iterable[Candidate]) -> ItemErrors:
    """A conflicting transaction is noted in each parent that is in the set. Returns, by item, what is in doubt."""
    sources = {candidate.item_index: candidate.source for candidate in candidates}
    whole = {index: source for index, source in sources.items() if isinstance(source, Transaction)}
    parents = {source.txid: [txid for txid, _ in source.outpoints] for source in whole.values()}
    errors = note_conflicting(context, parents)
    return {index: errors[source.txid] for index, source in whole.items() if source.txid in errors}
