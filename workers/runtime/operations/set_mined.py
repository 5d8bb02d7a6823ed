"""set_mined: a transaction is in a block, or (unset) it is not in it any more.

Item [txid, block id, block height, subtree index, height, flags]; result: the ids of the blocks that it is in. On the
longest chain it is mined; off it, it is unmined since `height`. Unset, that flag says that it still is on the longest
chain, by another block. To be in a block unlocks it: its master here, its child records in a follow-up that the answer
waits for, under the master's lockSeq; to be taken out of one leaves its locks as they are.

Asked again it says the same, and what may have been lost on the way to the child records is sent again.
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol.item_flags import MINED_ON_LONGEST_CHAIN, MINED_UNSET
from store import RuleCall
from workers.runtime.children.follow_ups import owe_what_is_behind
from workers.runtime.children.last_child import LastChild
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, flags_field, txid_field, uint_field
from workers.runtime.rule_answer import RuleAnswer
from workers.runtime.rule_calls import call_rules
from workers.runtime.store_errors import error_of_unreadable

SHAPE: Final = Shape(
    txid_field(),
    uint_field("block id"),
    uint_field("block height"),
    uint_field("subtree index"),
    uint_field("height"),
    flags_field(MINED_ON_LONGEST_CHAIN | MINED_UNSET),
)


def run(context: DispatchContext) -> None:
    batch = context.batch
    items = batch.parse(tuple)
    calls = {index: _call(item, context.retention) for index, item in items.items()}
    answers = call_rules(context, calls)
    found = owe_what_is_behind(context, {calls[index].key: answer for index, answer in answers.items()})
    for index, answer in answers.items():
        if answer.block_ids is None:
            batch.fail(index, error_of_unreadable("record", "it does not tell the blocks"))
            continue
        txid, flags = items[index][0], items[index][-1]
        if answer.child_count and not flags & MINED_UNSET and _may_be_locked(answer, found[txid]):
            item = [txid, answer.child_count, False, answer.lock_seq]
            batch.add_awaited_follow_up(index, "lock_children", txid, answer.child_count, item)
        batch.complete(index, answer.block_ids)


def _may_be_locked(answer: RuleAnswer, last: LastChild) -> bool:
    """Some child. The rule raises lockSeq whenever it sets a block, as every lock and unlock does: where this was the
    first time, the children are as they were created, all alike."""
    return answer.lock_seq != 1 or last.is_locked


def _call(item: Sequence[Any], retention: int) -> RuleCall:
    txid, block_id, block_height, subtree_index, height, flags = item
    on_longest_chain, unset = bool(flags & MINED_ON_LONGEST_CHAIN), bool(flags & MINED_UNSET)
    arguments = block_id, block_height, subtree_index, height, retention, on_longest_chain, unset
    return RuleCall(txid, "setMined", arguments)
