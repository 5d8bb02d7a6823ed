"""lock_children, a follow-up that the answer to `set_locked` waits for: the child records are locked, or unlocked, as
their master is.

Item [txid, child count, value, lockSeq]; result true where every child is done. A child that is missing is a fault. It
may be done in any order, and twice: the newest lockSeq wins.
"""

from typing import Any, Final

from protocol.wire import Error
from store import RuleCall, Value
from store.layout import child_key
from workers.runtime.children.missing import as_child_error
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import MAX_CHILDREN, MAX_SEQ, check_bool, check_fields, check_txid, check_uint
from workers.runtime.rule_answer import read_rule_answer

# The rule wants one, and makes no use of it for a child.
_NO_HEIGHT: Final = 0


def run(context: DispatchContext) -> None:
    for index, (txid, child_count, arguments) in context.batch.parse(
        lambda item: _parse(item, context.retention)
    ).items():
        calls = [RuleCall(child_key(txid, child), "setLocked", arguments) for child in range(1, child_count + 1)]
        context.batch.complete_unless(_first_error(context, calls), index, True)


def _parse(item: Any, retention: int) -> tuple[bytes, int, tuple[Value, ...]]:
    """The txid, how many children there are, and the arguments of the rule."""
    txid, child_count, value, seq = check_fields(item, "txid", "child count", "value", "lockSeq")
    check_txid(txid)
    check_uint(child_count, "child count", MAX_CHILDREN)
    arguments = check_bool(value, "value"), _NO_HEIGHT, retention, check_uint(seq, "lockSeq", MAX_SEQ)
    return txid, child_count, arguments


def _first_error(context: DispatchContext, calls: list[RuleCall]) -> Error | None:
    """What went wrong with the first child that is not done; None where all are."""
    for child, result in enumerate(context.operate(calls), start=1):
        error = read_rule_answer(result, f"child record {child}").error
        if error is not None:
            return as_child_error(error, child)
    return None
