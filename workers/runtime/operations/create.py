"""create: puts a transaction into the set, whole or with some of its outputs.

Item [raw or nil, block height, mined, flags, partial or nil]; mined: [[block id, block height, subtree index], ...];
partial: [txid, {vout: [satoshis, locking script]}]. Result: a map with txID, fee where it is known, sizeInBytes,
isCoinbase, totalUtxos and records.

All records of a transaction are written in one batch, create-only, the master among them: whether this call created it
is decided by the master record alone. Children that stand there without a master are what is left of an earlier life:
the creation is refused (LEFTOVER), and nothing is written. Where the store's batches are not atomic, transactions of
several records are created under a lock (create_locked.py).

A blob is written before the records that point to it, where there is none; one that is there is replaced after the
master's creation has succeeded, and a whole one never by a partial one. Who finds the transaction there already
completes what another attempt may have left: an unfinished creation, a note in the parents of a conflicting one, a blob
that was lost.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from protocol import codes
from protocol.codes import UNKNOWN
from protocol.mined_block import MinedBlock
from protocol.operations import CREATE_COINBASE, CREATE_CONFLICTING, CREATE_LOCKED
from protocol.wire import Error
from store import Mode, Read, Result, RuleCall, Status, Write
from store.layout import MAX_SATOSHIS, Circumstances, Partial, create_records, move_out
from store.transaction import Output, Transaction, parse_transaction
from workers.runtime.checks import BadItem, check_fields, check_flags, check_height, check_txid, check_uint
from workers.runtime.context import Work, failure, read_answer

from .create_locked import (
    Candidate,
    Errors,
    create_locked,
    is_being_created,
    leftover,
    put_blob,
    settle_blob,
    tx_exists,
)

_FLAGS: Final = CREATE_CONFLICTING | CREATE_LOCKED | CREATE_COINBASE
_MAX_MINED: Final = 1024
_TOLD: Final = ("txID", "fee", "sizeInBytes", "isCoinbase", "totalUtxos")
_ATTENDED: Final = ("creating", "conflicting", "external")


def run(work: Work) -> None:
    candidates: list[Candidate] = []
    for index in work.batch.open():
        try:
            candidates.append(_parse(work, index))
        except BadItem as fault:
            work.batch.fail(index, fault.error)
    errors: Errors = {}
    locked = [] if work.store.is_atomic else [one for one in candidates if one.children]
    _create_at_once(work, [one for one in candidates if work.store.is_atomic or not one.children], errors)
    if locked:
        errors |= create_locked(work, locked)
    conflicting = [one for one in candidates if one.conflicting and one.item not in errors]
    conflicting += _attend(work, [one for one in candidates if _exists(errors.get(one.item))], errors)
    errors |= _note_in_parents(work, conflicting)
    for one in candidates:
        if one.item in errors:
            work.batch.fail(one.item, errors[one.item])
        else:
            work.batch.complete(one.item, _told(one))


def _exists(error: Error | None) -> bool:
    return error is not None and error.code == codes.TX_EXISTS


def _create_at_once(work: Work, candidates: Sequence[Candidate], errors: Errors) -> None:
    """All records of each in one batch, as a group. One that is too big for a record goes to the blob store."""
    writable = _put_blobs(work, candidates, errors)
    writes = [Write(key, bins, Mode.CREATE, group=one.item) for one in writable for key, bins in one.creation.records]
    results = iter(work.operate(writes))
    too_big: list[Candidate] = []
    for one in writable:
        own = [next(results) for _ in one.creation.records]
        if own[0].status is Status.TOO_BIG and not one.creation.external:
            too_big.append(one._replace(creation=move_out(one.creation)))
            continue
        error = _error_of(one, own)
        if error is None and one.creation.external:
            error = settle_blob(work, one)
        if error is not None:
            errors[one.item] = error
    if too_big:
        _create_at_once(work, too_big, errors)


def _put_blobs(work: Work, candidates: Sequence[Candidate], errors: Errors) -> list[Candidate]:
    """Writes the blobs of what does not exist yet. Returns what is still to be created."""
    external = [one for one in candidates if one.creation.external]
    keys = [key for one in external for key, _ in one.creation.records]
    results = iter(work.operate([Read(key, ("recordUtxos",)) for key in keys]))
    writable = [one for one in candidates if not one.creation.external]
    begun: set[bytes] = set()
    for one in external:
        master, *children = [next(results) for _ in one.creation.records]
        left = [key for (key, _), child in zip(one.children, children, strict=True) if child.status is Status.OK]
        if master.status is not Status.NOT_FOUND:
            errors[one.item] = tx_exists() if master.status is Status.OK else failure(master, "transaction")
        elif left:
            errors[one.item] = leftover(left)
        elif one.source.txid in begun:
            errors[one.item] = is_being_created()
        else:
            begun.add(one.source.txid)
            writable.append(put_blob(work, one, errors))
    return [one for one in writable if one.item not in errors]


def _error_of(one: Candidate, results: Sequence[Result]) -> Error | None:
    """results: of all records of the transaction, the master's first."""
    for (key, _), number, result in zip(one.creation.records, range(len(results)), results, strict=True):
        if result.status is Status.OK:
            continue
        if number == 0:
            return failure(result, "transaction")
        return leftover([key]) if result.status is Status.EXISTS else failure(result, f"child record {number}")
    return None


def _attend(work: Work, found: Sequence[Candidate], errors: Errors) -> list[Candidate]:
    """Completes what other attempts may have left of transactions that are there. Returns those that are conflicting,
    as they were to be."""
    conflicting: list[Candidate] = []
    unfinished: list[Candidate] = []
    results = work.try_operate([Read(one.source.txid, _ATTENDED) for one in found])
    for one, result in zip(found, results, strict=True):
        if result.status not in (Status.OK, Status.NOT_FOUND):
            # Nobody can say what is left to be done: TX_EXISTS would be the last word.
            errors[one.item] = failure(result, "transaction")
        bins = result.value if result.status is Status.OK else {}
        if bins.get("creating"):
            unfinished.append(one)
        if one.conflicting and bins.get("conflicting"):
            conflicting.append(one)
        # A whole one is what it is by its txid; what the outputs of a partial one are worth nobody knows. Where it
        # can't be kept now, the answer is right all the same: the transaction is there.
        if (
            bins.get("external")
            and isinstance(one.source, Transaction)
            and not work.store.blobs.has_whole(one.source.txid)
        ):
            settle_blob(work, one)
    if unfinished:
        errors |= create_locked(work, unfinished)
    return conflicting


def _note_in_parents(work: Work, ones: Iterable[Candidate]) -> Errors:
    """A conflicting transaction is noted in each parent that is in the set. Returns, by item, what is in doubt."""
    notes = [
        (one.item, RuleCall(parent, "noteConflicting", (one.source.txid,)))
        for one in ones
        if isinstance(one.source, Transaction)
        for parent in dict.fromkeys(spend.previous_txid for spend in one.source.inputs)
    ]
    doubtful: Errors = {}
    for (item, _), result in zip(notes, work.try_operate([call for _, call in notes]), strict=True):
        error = read_answer(result, "parent").error
        if error is not None and error.code != codes.TX_NOT_FOUND:
            doubtful[item] = error._replace(executed=UNKNOWN)
    return doubtful


def _told(one: Candidate) -> dict[str, Any]:
    bins = one.creation.master
    return {**{name: bins[name] for name in _TOLD if name in bins}, "records": len(one.creation.records)}


def _parse(work: Work, index: int) -> Candidate:
    raw, height, mined, flags, partial = check_fields(
        work.batch.items[index], "raw", "block height", "mined", "flags", "partial"
    )
    check_flags(flags, _FLAGS)
    if (raw is None) == (partial is None):
        raise BadItem("raw, partial: one of them is nil, the other not")
    conflicting = bool(flags & CREATE_CONFLICTING)
    circumstances = Circumstances(
        block_height=check_height(height),
        now_ms=time.time_ns() // 1_000_000,
        utxo_batch_size=work.store.utxo_batch_size,
        genesis_height=work.store.genesis_height,
        retention=work.retention,
        mined=_parse_mined(mined),
        conflicting=conflicting,
        locked=bool(flags & CREATE_LOCKED),
    )
    try:
        source = _parse_partial(partial, flags) if raw is None else _parse_raw(raw)
        return Candidate(index, source, conflicting, create_records(source, circumstances))
    except ValueError as error:
        raise BadItem(str(error)) from None


def _parse_raw(raw: Any) -> Transaction:
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
