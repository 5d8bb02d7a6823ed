"""The rules of the alert system: freeze, unfreeze and reassign."""

from typing import Any, Final

from store.layout import FROZEN
from store.lmdb.record import Record

from .answers import Answer, refuse, refuse_parameter
from .arguments import is_hash, is_index, target_fault
from .utxos import open_utxo, spender_hex

MAX_REASSIGNED_BYTES: Final = 128 * 1024  # a record's growth is bounded: it must stay spendable
REASSIGNMENT_BYTES: Final = 256  # of one, without its scripts


def freeze(record: Record | None, offset: int, utxo_hash: bytes) -> Answer:
    opened = open_utxo(record, target_fault(offset, utxo_hash), offset, utxo_hash)
    if isinstance(opened, dict):
        return opened
    record, owner = opened
    if owner == FROZEN:
        return refuse("ALREADY_FROZEN", "the output is frozen already")
    if owner:
        return refuse("SPENT", "the output is spent", spender_hex(owner))
    record.set_utxo(offset, utxo_hash + FROZEN)
    record.is_changed = True
    return {"status": "OK"}


def unfreeze(record: Record | None, offset: int, utxo_hash: bytes) -> Answer:
    frozen = _open_frozen(record, target_fault(offset, utxo_hash), offset, utxo_hash)
    if isinstance(frozen, dict):
        return frozen
    frozen.set_utxo(offset, utxo_hash)
    frozen.is_changed = True
    return {"status": "OK"}


def reassign(
    record: Record | None,
    offset: int,
    utxo_hash: bytes,
    new_utxo_hash: bytes,
    satoshis: int,
    script: bytes,
    block_height: int,
    spendable_after: int,
) -> Answer:
    """satoshis, script: of the output that has the new hash; it is spendable from block_height + spendable_after on."""
    fault = _reassignment_fault(offset, utxo_hash, new_utxo_hash, satoshis, script, block_height, spendable_after)
    frozen = _open_frozen(record, fault, offset, utxo_hash)
    if isinstance(frozen, dict):
        return frozen
    bins, rest = frozen.bins, frozen.rest
    reassignments = rest.get("reassignments") or []
    if not _has_room(reassignments, script):
        return refuse_parameter(f"the record has no room for a script of {len(script)} bytes")
    frozen.set_utxo(offset, new_utxo_hash)
    reassignment = {
        "offset": offset,
        "utxoHash": utxo_hash,
        "newUtxoHash": new_utxo_hash,
        "satoshis": satoshis,
        "script": script,
        "blockHeight": block_height,
    }
    rest["reassignments"] = [*reassignments, reassignment]
    rest["reassigned"] = (rest.get("reassigned") or {}) | {offset: [satoshis, script]}
    bins.utxoSpendableIn = (bins.utxoSpendableIn or {}) | {offset: block_height + spendable_after}
    # One more than can ever be spent: the record is never pruned.
    bins.recordUtxos += 1  # type: ignore[operator]  # fails where there is none
    frozen.is_changed = True
    return {"status": "OK"}


def _reassignment_fault(
    offset: Any,
    utxo_hash: Any,
    new_utxo_hash: Any,
    satoshis: Any,
    script: Any,
    block_height: Any,
    spendable_after: Any,
) -> str | None:
    fault = target_fault(offset, utxo_hash)
    if fault is not None:
        return fault
    if not is_hash(new_utxo_hash):
        return "new utxo hash is not 32 bytes"
    if not is_index(satoshis) or type(script) is not bytes:
        return "satoshis are no unsigned integer, or the script is not bytes"
    if not is_index(block_height) or not is_index(spendable_after):
        return "the height that it is spendable from is no unsigned integer"
    return None


def _open_frozen(record: Record | None, fault: str | None, offset: int, utxo_hash: bytes) -> Record | Answer:
    """The record, where the output is frozen; or the refusal. fault: of the arguments."""
    opened = open_utxo(record, fault, offset, utxo_hash)
    if isinstance(opened, dict):
        return opened
    record, owner = opened
    if not owner:
        return refuse("UTXO_INVALID_SIZE", "the output is not frozen: it has 32 bytes")
    if owner != FROZEN:
        return refuse("UTXO_NOT_FROZEN", "the output is not frozen: it is spent", spender_hex(owner))
    return record


def _has_room(reassignments: list[dict[str, Any]], script: bytes) -> bool:
    """Whether there is room for one more reassignment, to such a script."""
    scripts = [script, *(earlier.get("script") or b"" for earlier in reassignments)]
    return sum(map(_reassignment_bytes, scripts)) <= MAX_REASSIGNED_BYTES


def _reassignment_bytes(script: bytes) -> int:
    """What it takes of its record: the script is kept with the reassignment, and as the output's."""
    return REASSIGNMENT_BYTES + 2 * len(script)
