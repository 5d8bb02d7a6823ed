"""Creation of transactions of several records, in a store where a batch is not one whole.

Under the transaction's lock, with a random token: the blob; the children, marked `creating`; the master, marked so too;
then the mark comes off the children, and off the master last. Where there is a master there are all its children, so
whether a transaction was created is decided by its master alone. A creator may die at any step: the lock expires, and
the next one to ask replaces children that have no master and are marked, or finishes what has one: as many children as
the master says, whatever the one who asks would have made. Children without a master and without the mark are what is
left of an earlier life, and are never written over.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import Mode, Read, Remove, Result, Status, Write
from store.layout import ABANDONED, CHILD_BINS, Partial, child_key, lock_key, lock_ttl
from store.transaction import Transaction
from workers.runtime.context import DispatchContext
from workers.runtime.store_errors import error_of_record

from .blobs import make_blob_own, put_blob
from .candidate import (
    Candidate,
    ItemErrors,
    abandoned_error,
    creating_error,
    exists_error,
    leftover_error,
    vanished_error,
    without_errors,
)
from .master import MASTER_BINS, read_master

_MARKED: Final = {"creating": True}
_UNMARKED: Final = {"creating": None}
# What a child has of a creation that died goes with it.
_NOTHING: Final = dict.fromkeys(CHILD_BINS)
_INHERITED: Final = ("conflicting", "locked", "spendingHeight", "deleteAtHeight")


def create_under_lock(context: DispatchContext, candidates: Sequence[Candidate]) -> ItemErrors:
    """Returns, by item, why it was not created; TX_EXISTS where it finished what another one had left."""
    return _create(context, candidates, begins=True)


def finish_under_lock(context: DispatchContext, candidates: Sequence[Candidate]) -> ItemErrors:
    """As create_under_lock, of transactions that somebody has begun: none is begun anew."""
    return _create(context, candidates, begins=False)


def _create(context: DispatchContext, candidates: Sequence[Candidate], *, begins: bool) -> ItemErrors:
    if not candidates:
        return {}
    errors: ItemErrors = {}
    token = secrets.token_bytes(16)
    first = {candidate.txid: candidate for candidate in reversed(candidates)}
    locked = _take_locks(context, list(first.values()), token, errors)
    fresh, begun = _read_masters(context, locked, errors)
    if not begins:
        errors |= {candidate.item_index: vanished_error() for candidate in fresh}
    fresh = _refuse_leftovers(context, without_errors(fresh, errors), errors)
    whole = [*_begin(context, fresh, errors), *_complete_children(context, begun, errors)]
    _finish(context, whole, locked, token, errors)
    for candidate in begun:
        errors.setdefault(candidate.item_index, exists_error())
    for candidate in candidates:
        earlier = first[candidate.txid]
        if earlier is not candidate:
            error = errors.get(earlier.item_index)
            exists = error is not None and error.code == codes.TX_EXISTS
            errors[candidate.item_index] = exists_error() if exists else creating_error()
    return errors


def _take_locks(
    context: DispatchContext, candidates: Sequence[Candidate], token: bytes, errors: ItemErrors
) -> list[Candidate]:
    """Those whose lock is ours now."""
    locks = [
        Write(lock_key(candidate.txid), {"token": token}, Mode.CREATE, ttl=lock_ttl(len(candidate.creation.records)))
        for candidate in candidates
    ]
    locked = []
    for candidate, result in zip(candidates, context.try_operate(locks), strict=True):
        if result.status is Status.OK:
            locked.append(candidate)
        elif result.status is Status.EXISTS:
            errors[candidate.item_index] = creating_error()
        else:
            # Of the transaction nothing was written, even where the lock was.
            errors[candidate.item_index] = error_of_record(result, "creation lock")._replace(executed=NO)
    return locked


def _read_masters(
    context: DispatchContext, locked: Sequence[Candidate], errors: ItemErrors
) -> tuple[list[Candidate], list[Candidate]]:
    """Those that are not there, and those that somebody has begun and not finished."""
    fresh, begun = [], []
    results = context.try_operate([Read(candidate.txid, (*MASTER_BINS, *_INHERITED)) for candidate in locked])
    for candidate, result in zip(locked, results, strict=True):
        master = read_master(result)
        if master is None:
            fresh.append(candidate)
        elif isinstance(master, Error):  # nothing is begun before it is known what is there
            errors[candidate.item_index] = master._replace(executed=NO)
        elif master.creating:
            begun.append(_as_begun(candidate, master.totalExtraRecs or 0, result.value))
        else:
            errors[candidate.item_index] = exists_error()
    return fresh, begun


def _as_begun(candidate: Candidate, child_count: int, bins: Mapping[str, Any]) -> Candidate:
    """With as many children as the master has; the bins of those that this candidate does not know are empty. bins: of
    the master."""
    inherited = {name: bins[name] for name in _INHERITED if name in bins}
    known = {
        key: {name: value for name, value in bins.items() if name not in _INHERITED} | inherited
        for key, bins in candidate.children
    }
    keys = [child_key(candidate.txid, child) for child in range(1, child_count + 1)]
    children = [(key, known.get(key, {})) for key in keys]
    return replace(candidate, creation=candidate.creation._replace(records=[candidate.creation.records[0], *children]))


def _refuse_leftovers(context: DispatchContext, fresh: Sequence[Candidate], errors: ItemErrors) -> list[Candidate]:
    """Looks for children of an earlier life before anything is written."""
    children = _each_child(fresh)
    left: dict[int, list[bytes]] = {}
    results = context.try_operate([Read(key, ("creating",)) for _, key, _ in children])
    for (candidate, key, _), result in zip(children, results, strict=True):
        if result.status is Status.OK and not result.value.get("creating"):
            left.setdefault(candidate.item_index, []).append(key)
        elif result.status not in (Status.OK, Status.NOT_FOUND):
            errors[candidate.item_index] = error_of_record(result, "child record")._replace(executed=NO)
    errors |= {index: leftover_error(keys) for index, keys in left.items()}
    return without_errors(fresh, errors)


def _begin(context: DispatchContext, fresh: Sequence[Candidate], errors: ItemErrors) -> list[Candidate]:
    """Blob, children, master; those of which all is there now."""
    kept = without_errors([put_blob(context, candidate, errors) for candidate in fresh], errors)
    kept = _write_children(context, kept, errors, replace=True)
    masters = [Write(candidate.txid, candidate.creation.master | _MARKED, Mode.CREATE) for candidate in kept]
    created, barred = [], []
    for candidate, result in zip(kept, context.try_operate(masters), strict=True):
        if result.status is Status.OK:
            error = make_blob_own(context, candidate)
            if error is None:
                created.append(candidate)
            else:
                errors[candidate.item_index] = error
        else:
            # Its children are written, and harm nobody; but a part of the item they are.
            errors[candidate.item_index] = _half_done(result, "transaction")
            if result.status is Status.EXISTS:
                barred.append(candidate)
    _withdraw_abandoned(context, barred, errors)
    return created


def _withdraw_abandoned(context: DispatchContext, barred: Sequence[Candidate], errors: ItemErrors) -> None:
    """barred: those with something in their master's place. Where it is the mark of one that is being abandoned the
    children are removed again, and nothing is left of the attempt."""
    abandoned = []
    results = context.try_operate([Read(candidate.txid, (ABANDONED,)) for candidate in barred])
    for candidate, result in zip(barred, results, strict=True):
        if result.status is Status.OK and result.value.get(ABANDONED):
            errors[candidate.item_index] = abandoned_error()
            abandoned.append(candidate)
    children = _each_child(abandoned)
    results = context.try_operate([Remove(key, _MARKED) for _, key, _ in children])
    for (candidate, _, _), result in zip(children, results, strict=True):
        if result.status is not Status.OK:
            errors[candidate.item_index] = _half_done(result, "child record")


def _complete_children(context: DispatchContext, begun: Sequence[Candidate], errors: ItemErrors) -> list[Candidate]:
    """Another program may have written a master before its children. What a partial transaction lacks nobody knows."""
    whole = [candidate for candidate in begun if isinstance(candidate.source, Transaction)]
    kept = _write_children(context, whole, errors, replace=False)
    return [*kept, *(candidate for candidate in begun if isinstance(candidate.source, Partial))]


def _write_children(
    context: DispatchContext, candidates: Sequence[Candidate], errors: ItemErrors, *, replace: bool
) -> list[Candidate]:
    """replace: a child that is there has no master, and gets this creation's content."""
    children = [child for child in _each_child(candidates) if child[2]]
    results = context.try_operate([Write(key, bins | _MARKED, Mode.CREATE) for _, key, bins in children])
    there = []
    for (candidate, key, bins), result in zip(children, results, strict=True):
        if result.status is Status.EXISTS:
            there.append((candidate, key, bins))
        elif result.status is not Status.OK:
            errors.setdefault(candidate.item_index, _half_done(result, "child record"))
    if replace:
        writes = [Write(key, _NOTHING | bins | _MARKED, Mode.UPDATE, condition=_MARKED) for _, key, bins in there]
        for (candidate, _, _), result in zip(there, context.try_operate(writes), strict=True):
            if result.status is not Status.OK:
                errors.setdefault(candidate.item_index, _half_done(result, "child record without a master"))
    return without_errors(candidates, errors)


def _finish(
    context: DispatchContext, whole: Sequence[Candidate], locked: Sequence[Candidate], token: bytes, errors: ItemErrors
) -> None:
    """Takes the marks off, the master's last, and gives back the locks of all that is done or refused."""
    children = _each_child(whole)
    results = context.try_operate([Write(key, _UNMARKED, Mode.UPDATE) for _, key, _ in children])
    for (candidate, _, _), result in zip(children, results, strict=True):
        if result.status is not Status.OK:
            errors.setdefault(candidate.item_index, _half_done(result, "child record"))
    finished = without_errors(whole, errors)
    masters = [Write(candidate.txid, _UNMARKED, Mode.UPDATE) for candidate in finished]
    # Of one that is not finished a step may still be on its way: its lock stays until it expires, so that nobody begins
    # anew what that step would land on.
    releases = [
        Remove(lock_key(candidate.txid), {"token": token})
        for candidate in locked
        if candidate.item_index not in errors or errors[candidate.item_index].executed == NO
    ]
    for candidate, result in zip(finished, context.try_operate([*masters, *releases]), strict=False):
        if result.status is not Status.OK:
            errors[candidate.item_index] = _half_done(result, "transaction")


def _each_child(candidates: Sequence[Candidate]) -> list[tuple[Candidate, bytes, dict[str, Any]]]:
    return [(candidate, key, bins) for candidate in candidates for key, bins in candidate.children]


def _half_done(result: Result, what: str) -> Error:
    """Of a transaction of which something may be written: asking again finishes it."""
    error = error_of_record(result, what)
    return Error(codes.STORE_ERROR, UNKNOWN, f"{error.code}: {error.message}; the creation is not complete")
