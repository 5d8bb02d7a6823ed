"""preserve_until: a transaction is kept until a height, whatever else would say that it may be deleted.

Item [txid, height]; result true. Its delete-at-height goes, and its child records' in a follow-up.
"""

from collections.abc import Sequence
from typing import Any, Final

from store import RuleCall
from workers.runtime.children.follow_ups import owe_what_is_behind
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, txid_field, uint_field
from workers.runtime.rule_calls import call_rules

SHAPE: Final = Shape(txid_field(), uint_field("height"))


def run(context: DispatchContext) -> None:
    calls = context.batch.parse(_call)
    answers = call_rules(context, calls)
    for index in answers:
        context.batch.complete(index, True)
    owe_what_is_behind(context, {calls[index].key: answer for index, answer in answers.items()})


def _call(item: Sequence[Any]) -> RuleCall:
    txid, height = item
    return RuleCall(txid, "preserveUntil", (height,))
