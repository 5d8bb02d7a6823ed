"""The rules unspend and release."""

from store.layout import FROZEN
from store.lmdb.record import Record

from .answers import Answer, refuse
from .arguments import spend_fault
from .delete_at_height import conclude
from .utxos import is_pruned, open_utxo, spender_hex


def unspend(
    record: Record | None,
    offset: int,
    utxo_hash: bytes,
    spending_data: bytes,
    current: int,
    retention: int,
    life: int | None = None,
) -> Answer:
    """Reverses the spend of its owner only, and only that of this life of the output, where one is given: else it
    stands (`held`). An output that is unspent stays as it is."""
    opened = open_utxo(record, spend_fault(offset, utxo_hash, spending_data), offset, utxo_hash)
    if isinstance(opened, dict):
        return opened
    record, owner = opened
    refusal = _refuse(record, owner, spending_data)
    if refusal is not None:
        return refusal
    answer: Answer = {"status": "OK", "applied": []}
    if owner and life is not None and not (type(life) is int and life == _life(record, offset)):
        answer["held"] = True
    elif owner:
        _give_back(record, offset, utxo_hash)
        answer["applied"].append(0)
    return conclude(record, answer, current, retention)


def release(
    record: Record | None,
    offset: int,
    utxo_hash: bytes,
    spending_data: bytes,
    current: int,
    retention: int,
    life: int,
) -> Answer:
    """What a refused attempt of a whole transaction gives back: a spend that it applied or joined in this life of the
    output. Where others rely on the spend it stands (`held`)."""
    opened = open_utxo(record, spend_fault(offset, utxo_hash, spending_data), offset, utxo_hash)
    if isinstance(opened, dict):
        return opened
    record, owner = opened
    joined = record.bins.joined or {}
    life_now, count = joined.get(offset, (0, 0))
    if owner != spending_data or type(life) is not int or life != life_now:
        return conclude(record, {"status": "OK", "applied": []}, current, retention)
    if count > 0:
        joined[offset] = (life_now, count - 1)
        record.is_changed = True
        return conclude(record, {"status": "OK", "applied": [], "held": True}, current, retention)
    refusal = _refuse(record, owner, spending_data)
    if refusal is not None:
        return refusal
    _give_back(record, offset, utxo_hash)
    return conclude(record, {"status": "OK", "applied": [0]}, current, retention)


def _refuse(record: Record, owner: bytes, spender: bytes) -> Answer | None:
    """owner: who has the output; empty: nobody. spender: who asks."""
    if is_pruned(record.bins.deletedChildren, spender):
        return refuse("INVALID_SPEND", "the spending transaction was pruned", spender_hex(spender))
    if owner == FROZEN:
        return refuse("FROZEN", "the output is frozen")
    if owner and owner != spender:
        return refuse("SPENT", "the output is spent by another transaction", spender_hex(owner))
    return None


def _life(record: Record, offset: int) -> int:
    life, _ = (record.bins.joined or {}).get(offset, (0, 0))
    return life


def _give_back(record: Record, offset: int, utxo_hash: bytes) -> None:
    """What relied on the spend does so no longer: the output has another life."""
    bins = record.bins
    record.set_utxo(offset, utxo_hash)
    bins.spentUtxos -= 1  # type: ignore[operator]  # fails where there is none
    life = _life(record, offset)
    joined = bins.joined or {}
    joined[offset] = (life + 1, 0)
    bins.joined = joined
    record.is_changed = True
