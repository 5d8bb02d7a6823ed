"""A transaction that is there already: what its record says, and what another attempt may have left to be done: an
unfinished creation, a note in the parents of a conflicting one, a blob that was lost. It is never created anew."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from protocol.wire import Error
from store import Read, Result, Status
from store.layout import ABANDONED
from store.transaction import Transaction
from workers.runtime.conflicts.noting import note_conflicting
from workers.runtime.context import DispatchContext
from workers.runtime.store_errors import error_of_record, error_of_unreadable

from .blobs import make_blob_own
from .candidate import Candidate, ItemErrors, abandoned_error
from .under_lock import finish_under_lock

Found = Mapping[str, Any]

_BINS: Final = (
    ABANDONED,
    "creating",
    "conflicting",
    "external",
    "blockIDs",
    "totalExtraRecs",
    "lockSeq",
    "locked",
    "fee",
)


def look_up(context: DispatchContext, txids: Iterable[bytes]) -> dict[bytes, Found | Error | None]:
    """What there is of these transactions: some bins of the master; None: there is none. An error says that nobody can
    tell, or that it is being abandoned."""
    distinct = list(dict.fromkeys(txids))
    results = context.try_operate([Read(txid, _BINS) for txid in distinct])
    return dict(zip(distinct, map(_read_found, results), strict=True))


def _read_found(result: Result) -> Found | Error | None:
    if result.status is Status.NOT_FOUND:
        return None
    if result.status is not Status.OK:
        return error_of_record(result, "transaction")
    if type(result.value) is not dict or not isinstance(result.value.get("blockIDs"), list | None):
        return error_of_unreadable("transaction", "its record is none")
    return abandoned_error() if result.value.get(ABANDONED) else result.value


def complete_found(context: DispatchContext, found: Sequence[tuple[Candidate, Found]], errors: ItemErrors) -> None:
    """Completes what other attempts may have left. What goes wrong is added to `errors`."""
    conflicting: list[Candidate] = []
    unfinished: list[Candidate] = []
    for candidate, bins in found:
        if bins.get("creating"):
            unfinished.append(candidate)
        if candidate.conflicting and bins.get("conflicting"):
            conflicting.append(candidate)
        # A whole one is what it is by its txid; what the outputs of a partial one are worth nobody knows. Where it
        # can't be kept now, the answer is right all the same: the transaction is there.
        if (
            bins.get("external")
            and isinstance(candidate.source, Transaction)
            and not context.store.blobs.has_whole(candidate.txid)
        ):
            make_blob_own(context, candidate)
    errors |= finish_under_lock(context, unfinished)
    errors |= note_in_parents(context, conflicting)


def note_in_parents(context: DispatchContext, candidates: Iterable[Candidate]) -> ItemErrors:
    """A conflicting transaction is noted in each parent that is in the set. Returns, by item, what is in doubt."""
    sources = {candidate.item_index: candidate.source for candidate in candidates}
    whole = {index: source for index, source in sources.items() if isinstance(source, Transaction)}
    parents = {source.txid: [txid for txid, _ in source.outpoints] for source in whole.values()}
    errors = note_conflicting(context, parents)
    return {index: errors[source.txid] for index, source in whole.items() if source.txid in errors}
