"""reassign: a frozen output is given to another script, with another utxo hash.

Item [txid, vout, utxo hash, satoshis, locking script, height, spendable after]; result: the new utxo hash. From then on
the output is what it was reassigned to, and can be spent by that hash at `height + spendable after`, and above. Where
it is not frozen: UTXO_INVALID_SIZE, UTXO_NOT_FROZEN; asked again, UTXO_HASH_MISMATCH, since it has the new one.
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol.hashing import utxo_hash
from store.layout import MAX_SATOSHIS
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import MAX_UINT32, BadItem
from workers.runtime.item_shape import Shape, binary_field, uint_field
from workers.runtime.spending.output_calls import OutputCall, call_on_outputs
from workers.runtime.spending.parsed_spend import OUTPUT_FIELDS

SHAPE: Final = Shape(
    *OUTPUT_FIELDS,
    uint_field("satoshis", MAX_SATOSHIS),
    binary_field("locking script"),
    uint_field("height"),
    uint_field("spendable after"),
)


def run(context: DispatchContext) -> None:
    call_on_outputs(context, _call)


def _call(item: Sequence[Any]) -> OutputCall:
    """Raises BadItem."""
    txid, vout, old_hash, satoshis, script, height, spendable_after = item
    if height + spendable_after > MAX_UINT32:
        raise BadItem(f"height, spendable after: their sum is above {MAX_UINT32}")
    new_hash = utxo_hash(txid, vout, script, satoshis)
    arguments = old_hash, new_hash, satoshis, script, height, spendable_after
    return OutputCall(txid, vout, "reassign", arguments, new_hash)
