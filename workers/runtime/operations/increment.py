"""increment: corrects the count of child records that are fully spent, on their master.

Item [txid, delta, block height]; result [signal or nil, child count]. Where the master knows the states of its children
the delta is not believed: the children are asked, and noted, in the same dispatch, so that the counter is right
afterwards, and asking again is safe. Where the count completes the transaction, or it is complete no longer, the
children get their delete-at-height here too, and not in a follow-up: this pool feeds no other.
"""

from collections.abc import Sequence
from typing import Any, Final

from store import RuleCall
from workers.runtime.children.counting import finish_counting
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, integer_field, txid_field, uint_field
from workers.runtime.rule_answer import read_rule_answer

_MAX_DELTA: Final = 1 << 31

SHAPE: Final = Shape(txid_field(), integer_field("delta", -_MAX_DELTA, _MAX_DELTA), uint_field("block height"))


def run(context: DispatchContext) -> None:
    calls = context.batch.parse(lambda item: _call(item, context.retention))
    results = context.operate([call for call, _ in calls.values()])
    for (index, (call, height)), result in zip(calls.items(), results, strict=True):
        answer = read_rule_answer(result, "record")
        error, signal = answer.error, None
        if error is None:
            error, signal = finish_counting(context, call.key, answer, height)
        context.batch.complete_unless(error, index, [signal, answer.child_count or 0])


def _call(item: Sequence[Any], retention: int) -> tuple[RuleCall, int]:
    """The call, and the height of its block."""
    txid, delta, height = item
    return RuleCall(txid, "incrementSpentExtraRecs", (delta, height, retention)), height
