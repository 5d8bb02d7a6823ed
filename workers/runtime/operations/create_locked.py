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
from typing import Any, Final, NamedTuple

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import Mode, Read, Remove, Result, Status, Write
from store.layout import CHILD_BINS, Creation, Partial, child_index, child_key, lock_key, lock_ttl
from store.transaction import Transaction
from workers.runtime.context import Work, failure

# When it is worth asking again for a transaction that somebody else is creating, in milliseconds.
SOON_MS: Final = 100

_MAX_LEFTOVERS_TOLD: Final = 100
_MARKED: Final = {"creating": True}
_UNMARKED: Final = {"creating": None}
# What a child has of a creation that died goes with it.
_NOTHING: Final = dict.fromkeys(CHILD_BINS)
_INHERITED: Final = ("conflicting", "locked", "spendingHeight", "deleteAtHeight")


class Candidate(NamedTuple):
    """A transaction to create. item: its place in the batch. has_own_blob: what the blob store has of it was put by
    this attempt."""

    item: int
    source: Transaction | Partial
    conflicting: bool
    creation: Creation
    has_own_blob: bool = False

    @property
    def children(self) -> list[tuple[bytes, dict[str, Any]]]:
        return self.creation.records[1:]


Errors = dict[int, Error]


def is_being_created() -> Error:
    return Error(codes.CREATING, NO, "another creation of it is under way", SOON_MS)


def tx_exists() -> Error:
    return Error(codes.TX_EXISTS, NO, "transaction: is in the set already")


def leftover(keys: Sequence[bytes]) -> Error:
    """keys: of child records that stand there without their master."""
    key = keys[0]
    message = (
        f"child record {child_index(key)} (key {key.hex()}) is left of an earlier life of the transaction; "
        f"`utxod leftovers {key[31::-1].hex()} --remove` removes such records"
    )
    return Error(codes.LEFTOVER, NO, message, 0, {"keys": list(keys[:_MAX_LEFTOVERS_TOLD])})


def put_blob(work: Work, one: Candidate, errors: Errors) -> Candidate:
    """Where there is none yet. What goes wrong is added to `errors`."""
    try:
        return one._replace(has_own_blob=work.store.blobs.put_new(one.source))
    except OSError as error:
        errors[one.item] = Error(codes.STORE_ERROR, NO, f"blob: {error}")
        return one


def settle_blob(work: Work, one: Candidate) -> Error | None:
    """After the master's creation: the blob of an external transaction is its own, not what an earlier attempt left."""
    if one.has_own_blob:
        return None
    try:
        work.store.blobs.replace(one.source)
    except OSError as error:
        return Error(codes.STORE_ERROR, UNKNOWN, f"blob: {error}")
    return None


def create_locked(work: Work, candidates: Sequence[Candidate]) -> Errors:
    """Creates each. Returns, by item, why it was not; TX_EXISTS where it finished what another one had left."""
    errors: Errors = {}
    token = secrets.token_bytes(16)
    first = {one.source.txid: one for one in reversed(candidates)}
    locked = _take_locks(work, list(first.values()), token, errors)
    fresh, begun = _look(work, locked, errors)
    fresh = _refuse_leftovers(work, fresh, errors)
    whole = [*_begin(work, fresh, errors), *_complete_children(work, begun, errors)]
    _finish(work, whole, locked, token, errors)
    for one in begun:
        errors.setdefault(one.item, tx_exists())
    for one in candidates:
        earlier = first[one.source.txid]
        if earlier is not one:
            error = errors.get(earlier.item)
            errors[one.item] = (
                tx_exists() if error is not None and error.code == codes.TX_EXISTS else is_being_created()
            )
    return errors


def _take_locks(work: Work, candidates: Sequence[Candidate], token: bytes, errors: Errors) -> list[Candidate]:
    """Those whose lock is ours now."""
    locks = [
        Write(lock_key(one.source.txid), {"token": token}, Mode.CREATE, ttl=lock_ttl(len(one.creation.records)))
        for one in candidates
    ]
    locked = []
    for one, result in zip(candidates, work.operate(locks), strict=True):
        if result.status is Status.OK:
            locked.append(one)
        elif result.status is Status.EXISTS:
            errors[one.item] = is_being_created()
        else:
            # Of the transaction nothing was written, even where the lock was.
            errors[one.item] = failure(result, "creation lock")._replace(executed=NO)
    return locked


def _look(work: Work, locked: Sequence[Candidate], errors: Errors) -> tuple[list[Candidate], list[Candidate]]:
    """Those that are not there, and those that somebody has begun and not finished."""
    fresh, begun = [], []
    names = ("creating", "totalExtraRecs", *_INHERITED)
    for one, result in zip(locked, work.operate([Read(one.source.txid, names) for one in locked]), strict=True):
        if result.status is Status.NOT_FOUND:
            fresh.append(one)
        elif result.status is not Status.OK:
            errors[one.item] = failure(result, "transaction")
        elif result.value.get("creating"):
            begun.append(_as_begun(one, result.value))
        else:
            errors[one.item] = tx_exists()
    return fresh, begun


def _as_begun(one: Candidate, master: Mapping[str, Any]) -> Candidate:
    """With as many children as the master has; the bins of those that this candidate does not know are empty."""
    inherited = {name: master[name] for name in _INHERITED if name in master}
    known = {
        key: {name: value for name, value in bins.items() if name not in _INHERITED} | inherited
        for key, bins in one.children
    }
    keys = [child_key(one.source.txid, child) for child in range(1, (master.get("totalExtraRecs") or 0) + 1)]
    children = [(key, known.get(key, {})) for key in keys]
    return one._replace(creation=one.creation._replace(records=[one.creation.records[0], *children]))


def _refuse_leftovers(work: Work, fresh: Sequence[Candidate], errors: Errors) -> list[Candidate]:
    """Looks for children of an earlier life before anything is written."""
    children = _each_child(fresh)
    left: dict[int, list[bytes]] = {}
    for (one, key, _), result in zip(
        children, work.operate([Read(k, ("creating",)) for _, k, _ in children]), strict=True
    ):
        if result.status is Status.OK and not result.value.get("creating"):
            left.setdefault(one.item, []).append(key)
        elif result.status not in (Status.OK, Status.NOT_FOUND):
            errors[one.item] = failure(result, "child record")
    errors |= {item: leftover(keys) for item, keys in left.items()}
    return [one for one in fresh if one.item not in errors]


def _begin(work: Work, fresh: Sequence[Candidate], errors: Errors) -> list[Candidate]:
    """Blob, children, master; those of which all is there now."""
    kept = [put_blob(work, one, errors) for one in fresh]
    kept = [one for one in kept if one.item not in errors]
    kept = _write_children(work, kept, errors, replace=True)
    masters = [Write(key, bins | _MARKED, Mode.CREATE) for key, bins in (one.creation.records[0] for one in kept)]
    created = []
    for one, result in zip(kept, work.operate(masters), strict=True):
        if result.status is Status.OK:
            error = settle_blob(work, one)
            if error is None:
                created.append(one)
            else:
                errors[one.item] = error
        else:
            # Its children are written, and harm nobody; but a part of the item they are.
            errors[one.item] = _half_done(result, "transaction")
    return created


def _complete_children(work: Work, begun: Sequence[Candidate], errors: Errors) -> list[Candidate]:
    """Another program may have written a master before its children. What a partial transaction lacks nobody knows."""
    whole = [one for one in begun if isinstance(one.source, Transaction)]
    kept = _write_children(work, whole, errors, replace=False)
    return [*kept, *(one for one in begun if isinstance(one.source, Partial))]


def _write_children(work: Work, ones: Sequence[Candidate], errors: Errors, *, replace: bool) -> list[Candidate]:
    """replace: a child that is there has no master, and gets this creation's content."""
    children = [child for child in _each_child(ones) if child[2]]
    results = work.operate([Write(key, bins | _MARKED, Mode.CREATE) for _, key, bins in children])
    there = []
    for (one, key, bins), result in zip(children, results, strict=True):
        if result.status is Status.EXISTS:
            there.append((one, key, bins))
        elif result.status is not Status.OK:
            errors.setdefault(one.item, _half_done(result, "child record"))
    if replace:
        writes = [Write(key, _NOTHING | bins | _MARKED, Mode.UPDATE, condition=_MARKED) for _, key, bins in there]
        for (one, _, _), result in zip(there, work.operate(writes), strict=True):
            if result.status is not Status.OK:
                errors.setdefault(one.item, _half_done(result, "child record without a master"))
    return [one for one in ones if one.item not in errors]


def _finish(work: Work, whole: Sequence[Candidate], locked: Sequence[Candidate], token: bytes, errors: Errors) -> None:
    """Takes the marks off, the master's last, and gives the locks back of all that is settled."""
    results = work.operate([Write(key, _UNMARKED, Mode.UPDATE) for one in whole for key, _ in one.children])
    for (one, _, _), result in zip(_each_child(whole), results, strict=True):
        if result.status is not Status.OK:
            errors.setdefault(one.item, _half_done(result, "child record"))
    finished = [one for one in whole if one.item not in errors]
    masters = [Write(one.source.txid, _UNMARKED, Mode.UPDATE) for one in finished]
    # Of one that is not finished a step may still be on its way: its lock stays until it expires, so that nobody begins
    # anew what that step would land on.
    releases = [
        Remove(lock_key(one.source.txid), {"token": token})
        for one in locked
        if one.item not in errors or errors[one.item].executed == NO
    ]
    for one, result in zip(finished, work.operate([*masters, *releases]), strict=False):
        if result.status is not Status.OK:
            errors[one.item] = _half_done(result, "transaction")


def _each_child(ones: Sequence[Candidate]) -> list[tuple[Candidate, bytes, dict[str, Any]]]:
    return [(one, key, bins) for one in ones for key, bins in one.children]


def _half_done(result: Result, what: str) -> Error:
    """Of a transaction of which something may be written: asking again finishes it."""
    error = failure(result, what)
    return Error(codes.STORE_ERROR, UNKNOWN, f"{error.code}: {error.message}; the creation is not complete")
