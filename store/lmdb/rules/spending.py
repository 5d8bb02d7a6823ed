"""The rules spend and spendMulti.

A spend is a tuple: its idx, the offset of the output, the utxo hash, and the spending data."""

from collections.abc import Sequence
from typing import Any

from store.layout import FROZEN, UTXO_BYTES
from store.lmdb.record import Bins, Record

from .answers import Answer, describe, refuse, refuse_missing, refuse_parameter
from .arguments import WRONG_KIND, check_heights, is_index, spend_fault
from .delete_at_height import conclude
from .presence import is_there
from .utxos import NO_UTXOS, is_held, is_pruned, spender_hex, utxo_error

Spend = tuple[int, int, bytes, bytes]


def spend(
    record: Record | None,
    offset: int,
    utxo_hash: bytes,
    spending_data: bytes,
    ignore_conflicting: bool,
    ignore_locked: bool,
    current: int,
    retention: int,
) -> Answer:
    """spendMulti of one, with idx 0."""
    fault = spend_fault(offset, utxo_hash, spending_data)
    if fault is not None:
        return refuse_parameter(fault)
    one = ((0, offset, utxo_hash, spending_data),)
    answer = _apply(record, one, ignore_conflicting, ignore_locked, current, retention)
    errors = answer.get("errors")
    if errors is not None:
        answer.update(errors[0])
    return answer


def spend_multi(
    record: Record | None,
    spends: Any,
    ignore_conflicting: bool,
    ignore_locked: bool,
    current: int,
    retention: int,
) -> Answer:
    """spends: a list of maps, each with idx, offset, utxoHash and spendingData. Those that can be are applied, though
    others have errors."""
    parsed = _parse(spends)
    if isinstance(parsed, str):
        return refuse_parameter(parsed)
    return _apply(record, parsed, ignore_conflicting, ignore_locked, current, retention)


def _parse(spends: Any) -> list[Spend] | str:
    """The spends; or what is wrong with the first that is malformed."""
    if not isinstance(spends, list | tuple):
        return WRONG_KIND
    parsed: list[Spend] = []
    for position, named in enumerate(spends, 1):
        if not isinstance(named, dict):
            return WRONG_KIND
        idx: Any = named.get("idx")
        if not is_index(idx):
            return f"spend {position}: idx is no unsigned integer"
        offset: Any = named.get("offset")
        utxo_hash: Any = named.get("utxoHash")
        spending_data: Any = named.get("spendingData")
        fault = spend_fault(offset, utxo_hash, spending_data)
        if fault is not None:
            return fault if fault == WRONG_KIND else f"spend {idx}: {fault}"
        parsed.append((idx, offset, utxo_hash, spending_data))
    return parsed


def _apply(
    record: Record | None,
    spends: Sequence[Spend],
    ignore_conflicting: bool,
    ignore_locked: bool,
    current: int,
    retention: int,
) -> Answer:
    """Applies the spends that can be applied."""
    check_heights(current, retention)
    if not is_there(record):
        return refuse_missing()
    bins = record.bins
    refusal = _forbid(record, ignore_conflicting, ignore_locked, current)
    if refusal is not None:
        return _add_mine(refusal, record, spends)
    applied: list[int] = []
    answer: Answer = {"status": "OK", "applied": applied}
    if bins.blockIDs is not None:
        answer["blockIDs"] = bins.blockIDs
    for one in spends:
        idx, offset, utxo_hash, spender = one
        utxo = record.utxo(offset)
        error = _judge(bins, utxo, one, current)
        if error is not None:
            _add_error(answer, idx, error, is_held(utxo, spender))
            continue
        is_unspent = utxo == utxo_hash
        if is_unspent:
            record.set_utxo(offset, utxo_hash + spender)
            applied.append(idx)
        if bins.joined or not is_unspent:
            _note_attempt(record, answer, idx, offset, is_unspent)
    if applied:
        bins.spentUtxos += len(applied)  # type: ignore[operator]  # fails where there is none
        record.is_changed = True
    return conclude(record, answer, current, retention)


def _forbid(record: Record, ignore_conflicting: bool, ignore_locked: bool, current: int) -> Answer | None:
    """Why nothing of the record may be spent."""
    bins = record.bins
    if bins.creating:
        return refuse("CREATING", "the transaction is still being created")
    if bins.conflicting and ignore_conflicting is not True:
        return refuse("CONFLICTING", "the transaction is conflicting")
    if bins.locked and ignore_locked is not True:
        return refuse("LOCKED", "the transaction is locked")
    spending_height = bins.spendingHeight
    if spending_height is not None and spending_height > current:
        return refuse("COINBASE_IMMATURE", f"spendable from height {spending_height}")
    if record.slots is None:
        return {"status": "ERROR", **NO_UTXOS}
    return None


def _judge(bins: Bins, utxo: bytes | None, one: Spend, current: int) -> Answer | None:
    """Why this spend can't be applied to the UTXO, nor is applied already."""
    _, offset, utxo_hash, spender = one
    error = None if utxo == utxo_hash else utxo_error(utxo, utxo_hash)
    if utxo is None or error is not None:
        return error
    if bins.utxoSpendableIn:
        height = bins.utxoSpendableIn.get(offset)
        if height is not None and height > current:
            return describe("FROZEN_UNTIL", f"spendable from height {height}")
    if bins.deletedChildren and is_pruned(bins.deletedChildren, spender):
        return describe("INVALID_SPEND", "the spending transaction was pruned", spender_hex(spender))
    owner = utxo[UTXO_BYTES:]
    if not owner or owner == spender:
        return None
    if owner == FROZEN:
        return describe("FROZEN", "the output is frozen")
    return describe("SPENT", "the output is spent", spender_hex(owner))


def _note_attempt(record: Record, answer: Answer, idx: int, offset: int, is_applied: bool) -> None:
    """Notes in `joined` that a spend holds: applied now, or joined to one that was before. Tells its output's life."""
    joined = record.bins.joined or {}
    life, count = joined.get(offset, (0, 0))
    if not is_applied or count > 0:
        joined[offset] = (life, 0 if is_applied else count + 1)
        record.bins.joined = joined
        record.is_changed = True
    if life > 0:
        answer.setdefault("lives", {})[idx] = life


def _add_error(answer: Answer, idx: int, error: Answer, is_mine: bool) -> None:
    answer["status"] = "ERROR"
    answer.setdefault("errors", {})[idx] = error
    if is_mine:
        answer.setdefault("mine", []).append(idx)


def _add_mine(refusal: Answer, record: Record, spends: Sequence[Spend]) -> Answer:
    """The idx of those spends whose spender has their output already."""
    mine = [idx for idx, offset, _, spender in spends if is_held(record.utxo(offset), spender)]
    if mine:
        refusal["mine"] = mine
    return refusal
