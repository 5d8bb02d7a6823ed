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
completes what another attempt may have left: an unfinished creation, a note in the parents of a conflicting one, a blob
that was lost.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from protocol import codes
from protocol.codes import UNKNOWN
from protocol.item_flags import CREATE_COINBASE, CREATE_CONFLICTING, CREATE_LOCKED
from protocol.mined_block import MinedBlock
from store import Read, RuleCall, Status
from store.layout import MAX_SATOSHIS, CreationOptions, Partial, create_records
from store.transaction import Output, Transaction, parse_transaction
from workers.runtime.context import DispatchContext
from workers.runtime.creation.at_once import create_at_once
from workers.runtime.creation.blobs import make_blob_own
from workers.runtime.creation.candidate import Candidate, ItemErrors, without_errors
from workers.runtime.creation.under_lock import create_under_lock
from workers.runtime.item_checks import BadItem
from workers.runtime.item_shape import (
    Field,
    Shape,
    array_field,
    binary_field,
    flags_field,
    map_field,
    optional_field,
    tuple_field,
    txid_field,
    uint_field,
)
from workers.runtime.rule_answer import read_rule_answer
from workers.runtime.store_errors import error_of_record

_MAX_MINED: Final = 1024
_FOUND_BINS: Final = ("creating", "conflicting", "external")


def _check_raw(raw: Any, name: str) -> None:
    if raw is not None and type(raw) is not bytes:
        raise BadItem(f"{name}: neither nil nor bytes")


_BLOCK: Final = tuple_field(
    "mined: a block",
    uint_field("mined: block id"),
    uint_field("mined: block height"),
    uint_field("mined: subtree index"),
)
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
    array_field("mined", _BLOCK, 0, _MAX_MINED),
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
    found = [candidate for candidate in candidates if candidate.item_index in there]
    conflicting += _complete_found(context, found, errors)
    errors |= _note_in_parents(context, conflicting)
    for candidate in candidates:
        index = candidate.item_index
        context.batch.complete_unless(errors.get(index), index, _describe(candidate))


def _candidates(context: DispatchContext) -> list[Candidate]:
    """What is to be created. An item of which nothing can be made is failed, alone."""
    batch = context.batch
    batch.fail_bad_items()
    now_ms = time.time_ns() // 1_000_000
    candidates: list[Candidate] = []
    latest: Any = None
    for index, (raw, *asked, partial) in batch.good_items():
        if asked != latest:  # who asks together mostly asks the same
            latest, options = asked, _options(context, now_ms, *asked)
        context.check_budget()  # a small item can ask for thousands of records
        try:
            source = _source(raw, asked[2], partial)
            creation = create_records(source, options)
        except ValueError as error:
            batch.fail(index, BadItem(str(error)).error)
        else:
            candidates.append(Candidate(index, source, options.conflicting, creation))
    return candidates


def _options(
    context: DispatchContext, now_ms: int, height: int, mined: Sequence[Sequence[int]], flags: int
) -> CreationOptions:
    return CreationOptions(
        block_height=height,
        now_ms=now_ms,
        utxo_batch_size=context.store.utxo_batch_size,
        genesis_height=context.store.genesis_height,
        retention=context.retention,
        mined=[MinedBlock(*block) for block in mined],
        conflicting=bool(flags & CREATE_CONFLICTING),
        locked=bool(flags & CREATE_LOCKED),
    )


def _source(raw: bytes | None, flags: int, partial: Sequence[Any] | None) -> Transaction | Partial:
    """Raises ValueError."""
    if raw is not None and partial is None:
        return parse_transaction(raw)
    if raw is None and partial is not None:
        txid, outputs = partial
        parsed = {vout: Output(*output) for vout, output in outputs.items()}
        return Partial(txid, parsed, is_coinbase=bool(flags & CREATE_COINBASE))
    raise ValueError("raw, partial: one of them is nil, the other not")


def _complete_found(context: DispatchContext, found: Sequence[Candidate], errors: ItemErrors) -> list[Candidate]:
    """Completes what other attempts may have left of transactions that are there. Returns those that are conflicting,
    as they were to be."""
    conflicting: list[Candidate] = []
    unfinished: list[Candidate] = []
    results = context.try_operate([Read(candidate.txid, _FOUND_BINS) for candidate in found])
    for candidate, result in zip(found, results, strict=True):
        if result.status not in (Status.OK, Status.NOT_FOUND):
            # Nobody can say what is left to be done: TX_EXISTS would be the last word.
            errors[candidate.item_index] = error_of_record(result, "transaction")
        bins = result.value if result.status is Status.OK else {}
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
    errors |= create_under_lock(context, unfinished)
    return conflicting


def _note_in_parents(context: DispatchContext, candidates: Iterable[Candidate]) -> ItemErrors:
    """A conflicting transaction is noted in each parent that is in the set. Returns, by item, what is in doubt."""
    notes = [
        (candidate.item_index, RuleCall(parent, "noteConflicting", (candidate.txid,)))
        for candidate in candidates
        if isinstance(candidate.source, Transaction)
        for parent in dict.fromkeys(spent.previous_txid for spent in candidate.source.inputs)
    ]
    in_doubt: ItemErrors = {}
    for (index, _), result in zip(notes, context.try_operate([call for _, call in notes]), strict=True):
        error = read_rule_answer(result, "parent").error
        if error is not None and error.code != codes.TX_NOT_FOUND:
            in_doubt[index] = error._replace(executed=UNKNOWN)
    return in_doubt


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
