"""utxo: what an output is worth, who may spend it, and whether it can be spent, or why not.

Item [txid, vout, block height or nil]; result: a map with satoshis, lockingScript, utxoHash and state, and where they
apply spendingTxid and spendingVin, spendableFrom. What is given is checked as outputs/finding.py says.

Of several states that apply the first is told: SPENT, FROZEN, CREATING, CONFLICTING, LOCKED, IMMATURE, FROZEN_UNTIL,
UNSPENT. IMMATURE and FROZEN_UNTIL go by the height that is given; without one they are told wherever there is a height
below which the output can't be spent. The flags of master and child record count alike: while they are changed one of
them may be late. An output without a UTXO that would have one at every height is a fault.
"""

from typing import Any, Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store.layout import (
    COINBASE_MATURITY,
    FROZEN,
    GENESIS_NEVER,
    SPENT_UTXO_BYTES,
    UTXO_BYTES,
    is_utxo,
    locate,
    unpack_spending_data,
)
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, optional_field, txid_field, uint_field
from workers.runtime.outputs.finding import FoundOutput, find_outputs

SHAPE: Final = Shape(txid_field(), uint_field("vout"), optional_field(uint_field("block height")))

_FLAGS: Final = ("creating", "conflicting", "locked")
_STATE_BINS: Final = (*_FLAGS, "spendingHeight", "utxoSpendableIn")


def run(context: DispatchContext) -> None:
    batch = context.batch
    batch.fail_bad_items()
    asked = [(index, (txid, vout), height) for index, (txid, vout, height) in batch.good_items()]
    outputs = find_outputs(context, [outpoint for _, outpoint, _ in asked], _STATE_BINS)
    for index, outpoint, height in asked:
        found = outputs[outpoint]
        described = found if isinstance(found, Error) else _describe(context, outpoint, found, height)
        if isinstance(described, Error):
            batch.fail(index, described)
        else:
            batch.complete(index, described)


def _describe(
    context: DispatchContext, outpoint: tuple[bytes, int], found: FoundOutput, height: int | None
) -> dict[str, Any] | Error:
    if found.utxo is None:
        return _no_utxo(outpoint, found)
    _, offset = locate(*outpoint, context.store.utxo_batch_size)
    try:
        state = _state(found, found.utxo, offset, height)
    except (ValueError, TypeError, AttributeError) as error:
        return Error(codes.STORE_ERROR, NO, f"output {outpoint[1]}: {error}")
    satoshis, locking_script = found.output
    utxo_hash = found.utxo[:UTXO_BYTES]
    return {"satoshis": satoshis, "lockingScript": locking_script, "utxoHash": utxo_hash, **state}


def _no_utxo(outpoint: tuple[bytes, int], found: FoundOutput) -> Error:
    """A fault where the output would be a UTXO at every height; those of the first block's coinbase are none."""
    is_first = found.master.get("spendingHeight") == COINBASE_MATURITY
    if not is_first and is_utxo(found.output.locking_script, 0, GENESIS_NEVER):
        return Error(codes.STORE_ERROR, NO, f"output {outpoint[1]}: its UTXO is missing")
    return Error(codes.UTXO_NOT_FOUND, NO, f"output {outpoint[1]} is no UTXO")


def _state(found: FoundOutput, utxo: bytes, offset: int, height: int | None) -> dict[str, Any]:
    """The state, and what belongs to it. Raises ValueError, TypeError, AttributeError where the record is damaged."""
    if len(utxo) not in (UTXO_BYTES, SPENT_UTXO_BYTES):
        raise ValueError(f"the stored UTXO has {len(utxo)} bytes")
    owner = utxo[UTXO_BYTES:]
    if owner == FROZEN:
        return {"state": "FROZEN"}
    if owner:
        spender = unpack_spending_data(owner)
        return {"state": "SPENT", "spendingTxid": spender.txid, "spendingVin": spender.vin}
    for flag in _FLAGS:
        if found.master.get(flag) or found.home.get(flag):
            return {"state": flag.upper()}
    matures = max(_height(found.master.get("spendingHeight")), _height(found.home.get("spendingHeight")))
    thaws = _height((found.home.get("utxoSpendableIn") or {}).get(offset))
    if max(matures, thaws) <= (height or 0):
        return {"state": "UNSPENT"}
    immature = matures > (height or 0)
    return {"state": "IMMATURE" if immature else "FROZEN_UNTIL", "spendableFrom": max(matures, thaws)}


def _height(value: Any) -> int:
    """0 where there is none. Raises ValueError."""
    if value is not None and type(value) is not int:
        raise ValueError(f"a height is a {type(value).__name__}")
    return value or 0
