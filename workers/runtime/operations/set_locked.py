"""set_locked: locks or unlocks a transaction, its master record here and its child records in a follow-up.

Item [txid, value]; result: the number of child records. The children go to the `children` pool, as a follow-up that the
answer waits for, in the ledger: a worker that waited for them would be one of those that they wait for. It bears the
master's lockSeq, so that of two calls the same one wins on every record.
"""

from collections.abc import Sequence
from typing import Any, Final

from store import RuleCall
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, boolean_field, txid_field
from workers.runtime.rule_calls import call_rules

SHAPE: Final = Shape(txid_field(), boolean_field("value"))

# The caller gives none: the rule counts from the transaction's own.
_NO_HEIGHT: Final = 0


def run(context: DispatchContext) -> None:
    batch = context.batch
    calls = batch.parse(lambda item: _call(item, context.retention))
    for index, answer in call_rules(context, calls).items():
        call = calls[index]
        owe_follow_ups(context, call.key, answer, _NO_HEIGHT)
        child_count = answer.child_count or 0
        if child_count:
            item = [call.key, child_count, call.args[0], answer.lock_seq]
            batch.add_awaited_follow_up(index, "lock_children", call.key, child_count, item)
        batch.complete(index, child_count)


def _call(item: Sequence[Any], retention: int) -> RuleCall:
    txid, value = item
    return RuleCall(txid, "setLocked", (value, _NO_HEIGHT, retention))
