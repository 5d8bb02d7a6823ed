"""freeze: an output is frozen: nobody can spend it until it is unfrozen or reassigned.

Item [txid, vout, utxo hash]; result true. ALREADY_FROZEN where it is frozen, SPENT where somebody has spent it.
"""

from collections.abc import Sequence
from typing import Any, Final

from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape
from workers.runtime.spending.output_calls import OutputCall, call_on_outputs
from workers.runtime.spending.parsed_spend import OUTPUT_FIELDS

SHAPE: Final = Shape(*OUTPUT_FIELDS)


def run(context: DispatchContext) -> None:
    call_on_outputs(context, _call)


def _call(item: Sequence[Any]) -> OutputCall:
    txid, vout, utxo_hash = item
    return OutputCall(txid, vout, "freeze", (utxo_hash,), True)
