"""lock_children, a follow-up that the answer to `set_locked` waits for: the child records are locked, or unlocked, as
their master is.

Item [txid, child count, value, lockSeq]; result true where every child is done. A child that is missing is a fault. It
may be done in any order, and twice: the newest lockSeq wins.
"""

from typing import Final

from protocol.wire import Error
from store import RuleCall
from store.layout import child_key
from workers.runtime.children.missing import as_child_error
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import MAX_CHILDREN, MAX_SEQ
from workers.runtime.item_shape import Shape, boolean_field, txid_field, uint_field
from workers.runtime.rule_answer import read_rule_answer

SHAPE: Final = Shape(
    txid_field(), uint_field("child count", MAX_CHILDREN), boolean_field("value"), uint_field("lockSeq", MAX_SEQ)
)

# The rule wants one, and makes no use of it for a child.
_NO_HEIGHT: Final = 0


def run(context: DispatchContext) -> None:
    for index, (txid, child_count, value, seq) in context.batch.parse(tuple).items():
        arguments = value, _NO_HEIGHT, context.retention, seq
        calls = [RuleCall(child_key(txid, child), "setLocked", arguments) for child in range(1, child_count + 1)]
        context.batch.complete_unless(_first_error(context, calls), index, True)


def _first_error(context: DispatchContext, calls: list[RuleCall]) -> Error | None:
    """What went wrong with the first child that is not done; None where all are."""
    for child, result in enumerate(context.operate(calls), start=1):
        error = read_rule_answer(result, f"child record {child}").error
        if error is not None:
            return as_child_error(error, child)
    return None
