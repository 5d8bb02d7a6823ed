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
from protocol.wire import Error
from store import Read, RuleCall, Status
from store.layout import MAX_SATOSHIS, CreationOptions, Partial, create_records
from store.transaction import Output, Transaction, parse_transaction
from workers.runtime.context import DispatchContext
from workers.runtime.creation.at_once import create_at_once
from workers.runtime.creation.blobs import make_blob_own
from workers.runtime.creation.candidate import Candidate, ItemErrors, without_errors
from workers.runtime.creation.under_lock import create_under_lock
from workers.runtime.item_checks import BadItem, check_fields, check_flags, check_height, check_txid, check_uint
from workers.runtime.rule_answer import read_rule_answer
from workers.runtime.store_errors import error_of_record

_FLAGS: Final = CREATE_CONFLICTING | CREATE_LOCKED | CREATE_COINBASE
_MAX_MINED: Final = 1024
_FOUND_BINS: Final = ("creating", "conflicting", "external")


def run(context: DispatchContext) -> None:
    candidates = _candidates(context)
    under_lock = [] if context.store.is_atomic else [candidate for candidate in candidates if candidate.children]
    at_once = [candidate for candidate in candidates if context.store.is_atomic or not candidate.children]
    errors = create_at_once(context, at_once)
    errors |= create_under_lock(context, under_lock)
    conflicting = [candidate for candidate in without_errors(candidates, errors) if candidate.conflicting]
    found = [candidate for candidate in candidates if _exists(errors.get(candidate.item_index))]
    conflicting += _complete_found(context, found, errors)
    errors |= _note_in_parents(context, conflicting)
    for candidate in candidates:
        index = candidate.item_index
        context.batch.complete_unless(errors.get(index), index, _describe(candidate))


def _candidates(context: DispatchContext) -> list[Candidate]:
    """What is to be created. An item of which nothing can be made is failed, alone."""
    batch = context.batch
    now_ms = time.time_ns() // 1_000_000
    candidates = []
    for index in batch.uncompleted():
        try:
            raw, height, mined, flags, partial = check_fields(
                batch.items[index], "raw", "block height", "mined", "flags", "partial"
            )
            options = _options(context, now_ms, height, mined, flags)
            source = _source(raw, flags, partial)
            candidates.append(Candidate(index, source, options.conflicting, create_records(source, options)))
        except BadItem as fault:
            batch.fail(index, fault.error)
        except ValueError as error:
            batch.fail(index, BadItem(str(error)).error)
    return candidates


def _exists(error: Error | None) -> bool:
    return error is not None and error.code == codes.TX_EXISTS


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


def _options(context: DispatchContext, now_ms: int, height: Any, mined: Any, flags: Any) -> CreationOptions:
    check_flags(flags, _FLAGS)
    return CreationOptions(
        block_height=check_height(height),
        now_ms=now_ms,
        utxo_batch_size=context.store.utxo_batch_size,
        genesis_height=context.store.genesis_height,
        retention=context.retention,
        mined=_parse_mined(mined),
        conflicting=bool(flags & CREATE_CONFLICTING),
        locked=bool(flags & CREATE_LOCKED),
    )


def _source(raw: Any, flags: int, partial: Any) -> Transaction | Partial:
    if (raw is None) == (partial is None):
        raise BadItem("raw, partial: one of them is nil, the other not")
    if raw is None:
        return _parse_partial(partial, flags)
    if type(raw) is not bytes:
        raise BadItem("raw: not bytes")
    return parse_transaction(raw)


def _parse_mined(mined: Any) -> list[MinedBlock]:
    if type(mined) is not list or len(mined) > _MAX_MINED:
        raise BadItem(f"mined: not an array of at most {_MAX_MINED}")
    blocks = []
    for block in mined:
        block_id, height, subtree = check_fields(block, "block id", "block height", "subtree index")
        check_uint(block_id, "mined: block id")
        check_uint(subtree, "mined: subtree index")
        blocks.append(MinedBlock(block_id, check_height(height, "mined: block height"), subtree))
    return blocks


def _parse_partial(partial: Any, flags: int) -> Partial:
    txid, outputs = check_fields(partial, "txid", "outputs")
    if type(outputs) is not dict:
        raise BadItem("partial: outputs is no map")
    parsed: dict[int, Output] = {}
    for vout, output in outputs.items():
        satoshis, script = check_fields(output, "satoshis", "locking script")
        if type(script) is not bytes:
            raise BadItem("partial: a locking script is not bytes")
        parsed[check_uint(vout, "partial: vout")] = Output(
            check_uint(satoshis, "partial: satoshis", MAX_SATOSHIS), script
        )
    return Partial(check_txid(txid, "partial: txid"), parsed, is_coinbase=bool(flags & CREATE_COINBASE))
