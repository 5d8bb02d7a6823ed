"""`utxod leftovers`: child records that are left of an earlier life of a transaction are found, and removed if asked.

A creation that meets such records is refused (LEFTOVER), because nobody knows what was spent of them. Only records
without a master are ever removed: in a store whose batches are one whole with a look at the master in the same batch;
elsewhere under the transaction's creation lock, so that no creation comes between.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final

from store import Mode, Read, RecordOperation, Remove, Status, Store, StoreError, Write
from store.layout import ABANDONED, child_key, lock_key, lock_ttl

BUDGET: Final = 5.0  # seconds, of each call
# A transaction of the largest size that a request can carry has no more outputs.
MAX_OUTPUTS: Final = 1 << 22
_AT_ONCE: Final = 1000
_GROUP: Final = 1


class LeftoversError(Exception):
    """Says why they can't be looked for, or removed."""


def most_children(store: Store) -> int:
    """How many child records a transaction can have."""
    return MAX_OUTPUTS // store.utxo_batch_size


def find_leftovers(store: Store, txid: bytes, progress: Callable[[int], Any]) -> list[bytes]:
    """The keys of the child records whose transaction has no master record. Not of those that a creation has begun and
    not ended: the next one replaces them. progress: is told how many more of `most_children` were looked for. Raises
    LeftoversError where the transaction is there; StoreError."""
    _refuse_master(store, txid)
    keys: list[bytes] = []
    last = most_children(store)
    for first in range(1, last + 1, _AT_ONCE):
        wanted = [child_key(txid, child) for child in range(first, min(first + _AT_ONCE, last + 1))]
        results = store.batch_operate([Read(key, ("creating",)) for key in wanted], BUDGET)
        for key, result in zip(wanted, results, strict=True):
            if result.status is Status.OK:
                keys += [] if result.value.get("creating") else [key]
            elif result.status is not Status.NOT_FOUND:
                raise StoreError(f"{key.hex()}: {result.message or result.status}", in_doubt=False)
        progress(len(wanted))
    return keys


def remove_leftovers(store: Store, txid: bytes, keys: list[bytes]) -> int:
    """Returns how many were removed. keys: as found. Raises LeftoversError, StoreError."""
    if store.is_atomic:
        return _remove_at_once(store, txid, keys)
    lock, token = lock_key(txid), secrets.token_bytes(16)
    (taken,) = store.batch_operate([Write(lock, {"token": token}, Mode.CREATE, ttl=lock_ttl(len(keys)))], BUDGET)
    if taken.status is not Status.OK:
        raise LeftoversError("somebody is creating the transaction, or has begun to: try again in five minutes")
    try:
        _refuse_master(store, txid)
        removed = 0
        for first in range(0, len(keys), _AT_ONCE):
            results = store.batch_operate([Remove(key) for key in keys[first : first + _AT_ONCE]], BUDGET)
            removed += sum(result.status is Status.OK for result in results)
        return removed
    finally:
        store.batch_operate([Remove(lock, {"token": token})], BUDGET)


def _remove_at_once(store: Store, txid: bytes, keys: list[bytes]) -> int:
    """All or none. A master record is created and removed again in the same batch: so none was there."""
    look: list[RecordOperation] = [Write(txid, {"txID": txid}, Mode.CREATE, group=_GROUP), Remove(txid, group=_GROUP)]
    created, _, *removed = store.batch_operate([*look, *(Remove(key, group=_GROUP) for key in keys)], BUDGET)
    if created.status is Status.EXISTS:
        raise LeftoversError("the transaction is in the set now: its child records are its own")
    if any(result.status is not Status.OK for result in removed):
        raise LeftoversError("somebody else removes them: nothing was removed now; look again")
    return len(keys)


def _refuse_master(store: Store, txid: bytes) -> None:
    (master,) = store.batch_operate([Read(txid, ("creating", ABANDONED))], BUDGET)
    if master.status is Status.OK:
        if master.value.get(ABANDONED):
            raise LeftoversError("the transaction is being abandoned, and not in the set: ask again in a minute")
        raise LeftoversError("the transaction is in the set: its child records are its own")
    if master.status is not Status.NOT_FOUND:
        raise StoreError(f"{txid[::-1].hex()}: {master.message or master.status}", in_doubt=False)
