"""mark_longest_chain: a transaction is on the longest chain, by a block that it is in, or it is not any more.

Item [txid, value, height]; result true. Off it, it is unmined since `height`, where it was not already. In no block, it
can't be on the longest chain: INVALID_PARAMETER.
"""

from collections.abc import Sequence
from typing import Any, Final

from store import RuleCall
from workers.runtime.children.follow_ups import owe_what_is_behind
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, boolean_field, txid_field, uint_field
from workers.runtime.rule_calls import call_rules

SHAPE: Final = Shape(txid_field(), boolean_field("value"), uint_field("height"))


def run(context: DispatchContext) -> None:
    calls = context.batch.parse(lambda item: _call(item, context.retention))
    answers = call_rules(context, calls)
    for index in answers:
        context.batch.complete(index, True)
    owe_what_is_behind(context, {calls[index].key: answer for index, answer in answers.items()})


def _call(item: Sequence[Any], retention: int) -> RuleCall:
    txid, value, height = item
    return RuleCall(txid, "markLongestChain", (value, height, retention))
