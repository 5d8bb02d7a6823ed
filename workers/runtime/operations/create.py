"""create: puts a transaction into the set, whole or with some of its outputs.

Item [raw or nil, block height, mined, flags, partial or nil]; mined: [[block id, block height, subtree index], ...];
partial: [txid, {vout: [satoshis, locking script]}]. Result: a map with txID, fee where it is known, sizeInBytes,
isCoinbase, totalUtxos and records.

All records of a transaction are written in one batch, create-only, the master among them: whether this call created it
is decided by the master record alone. Children that stand there without a master are what is left of an earlier life:
the creation is refused (LEFTOVER), and nothing is written. Where the store's batches are not atomic, transactions of
several records are created under a lock (creation/under_lock.py).

If there is no blob yet, it is written before the records that point to it; one that is there is replaced after the
master's creation has succeeded, and a whole one never by a partial one. Who finds the transaction there already
completes what another attempt may have left (creation/found.py). One that is being abandoned is refused (ABANDONED).
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol import codes
from protocol.item_flags import CREATE_COINBASE, CREATE_CONFLICTING, CREATE_LOCKED
from protocol.wire import Error
from store.layout import MAX_SATOSHIS, Partial, create_records
from store.transaction import Output, Transaction, parse_transaction
from workers.runtime.context import DispatchContext
from workers.runtime.creation.at_once import create_at_once
from workers.runtime.creation.candidate import Candidate, ItemErrors, vanished_error, without_errors
from workers.runtime.creation.found import complete_found, look_up, note_in_parents
from workers.runtime.creation.master import Master
from workers.runtime.creation.options import MINED, Options
from workers.runtime.creation.under_lock import create_under_lock
from workers.runtime.item_checks import BadItem
from workers.runtime.item_shape import (
    Field,
    Shape,
    binary_field,
    flags_field,
    map_field,
    optional_field,
    tuple_field,
    txid_field,
    uint_field,
)


def _check_raw(raw: Any, name: str) -> None:
    if raw is not None and type(raw) is not bytes:
        raise BadItem(f"{name}: neither nil nor bytes")


_OUTPUT: Final = tuple_field(
    "partial: an output",
    uint_field("partial: satoshis", MAX_SATOSHIS),
    binary_field("partial: locking script"),
)
_PARTIAL: Final = tuple_field(
    "partial", txid_field("partial: txid"), map_field("partial: outputs", uint_field("partial: vout"), _OUTPUT)
)
SHAPE: Final = Shape(
    Field("raw", bytes | None, _check_raw),
    uint_field("block height"),
    MINED,
    flags_field(CREATE_CONFLICTING | CREATE_LOCKED | CREATE_COINBASE),
    optional_field(_PARTIAL),
)


def run(context: DispatchContext) -> None:
    candidates = _candidates(context)
    at_once, under_lock = candidates, []
    if not context.store.is_atomic:
        at_once = [candidate for candidate in candidates if not candidate.children]
        under_lock = [candidate for candidate in candidates if candidate.children]
    errors = create_at_once(context, at_once)
    errors |= create_under_lock(context, under_lock)
    conflicting = without_errors([candidate for candidate in candidates if candidate.conflicting], errors)
    there = {index for index, error in errors.items() if error.code == codes.TX_EXISTS}
    _complete(context, [candidate for candidate in candidates if candidate.item_index in there], errors)
    errors |= note_in_parents(context, conflicting)
    for candidate in candidates:
        index = candidate.item_index
        context.batch.complete_unless(errors.get(index), index, _describe(candidate))


def _candidates(context: DispatchContext) -> list[Candidate]:
    """What is to be created. An item of which nothing can be made is failed, alone."""
    batch = context.batch
    batch.fail_bad_items()
    options = Options(context)
    candidates: list[Candidate] = []
    for index, (raw, height, mined, flags, partial) in batch.good_items():
        context.check_budget()  # a small item can ask for thousands of records
        try:
            source = _source(raw, flags, partial)
            own = options.of((height, mined, flags))
            creation = create_records(source, own)
        except ValueError as error:
            batch.fail(index, BadItem(str(error)).error)
        else:
            candidates.append(Candidate(index, source, own.conflicting, creation))
    return candidates


def _source(raw: bytes | None, flags: int, partial: Sequence[Any] | None) -> Transaction | Partial:
    """Raises ValueError."""
    if raw is not None and partial is None:
        return parse_transaction(raw)
    if raw is None and partial is not None:
        txid, outputs = partial
        parsed = {vout: Output(*output) for vout, output in outputs.items()}
        return Partial(txid, parsed, is_coinbase=bool(flags & CREATE_COINBASE))
    raise ValueError("raw, partial: one of them is nil, the other not")


def _complete(context: DispatchContext, there: Sequence[Candidate], errors: ItemErrors) -> None:
    """there: those that exist, as it seems: what stands at the key may be the mark of one that is being abandoned."""
    seen = look_up(context, [candidate.txid for candidate in there])
    found: list[tuple[Candidate, Master]] = []
    for candidate in there:
        master = seen[candidate.txid]
        if master is None:
            errors[candidate.item_index] = vanished_error()
        elif isinstance(master, Error):  # TX_EXISTS would be the last word, and something may be left to be done
            errors[candidate.item_index] = master
        else:
            found.append((candidate, master))
    errors |= complete_found(context, found)


def _describe(candidate: Candidate) -> dict[str, Any]:
    records = candidate.creation.records
    _, master = records[0]
    result = {
        "txID": master["txID"],
        "isCoinbase": master["isCoinbase"],
        "totalUtxos": master["totalUtxos"],
        "records": len(records),
    }
    for name in ("fee", "sizeInBytes"):
        if name in master:
            result[name] = master[name]
    return result
