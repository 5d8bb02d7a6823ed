"""A master's count of its child records that are fully spent: what is to be done after it was changed."""

from typing import Any, Final

from protocol.codes import UNKNOWN
from protocol.wire import Error
from store import RuleCall
from store.layout import child_key
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import RuleAnswer, failed, read_rule_answer
from workers.runtime.store_errors import error_of_unreadable

from .delete_at_height import set_children_dah
from .follow_ups import DAH_SET, DAH_UNSET
from .missing import as_child_error

RECOUNT: Final = "RECOUNT"


def finish_counting(
    context: DispatchContext, txid: bytes, answer: RuleAnswer, height: int
) -> tuple[Error | None, str | None]:
    """Goes on from a master's answer to `noteChild` or `incrementSpentExtraRecs`: recounts where it asks for that, and
    gives the children its delete-at-height where it says so. Returns what went wrong, and the master's signal."""
    child_count, signal = answer.child_count or 0, answer.signal
    if signal == RECOUNT:
        recount = _recount(context, txid, child_count, height)
        if recount.error is not None:
            return recount.error._replace(executed=UNKNOWN), None
        signal = recount.signal
    if signal not in (DAH_SET, DAH_UNSET):
        return None, signal
    error = set_children_dah(context, txid, child_count)
    # The master itself has been changed.
    return error and error._replace(executed=UNKNOWN), signal


def _recount(context: DispatchContext, txid: bytes, child_count: int, height: int) -> RuleAnswer:
    """Asks every child, and notes all of their answers in one call."""
    arguments = height, context.retention
    calls = [RuleCall(child_key(txid, child), "tellState", arguments) for child in range(1, child_count + 1)]
    notes: list[Any] = []
    for child, result in enumerate(context.operate(calls), start=1):
        answer = read_rule_answer(result, f"child record {child}")
        if answer.error is not None:
            return failed(as_child_error(answer.error, child))
        if answer.state_seq is None:
            return failed(error_of_unreadable(f"child record {child}", "it does not tell its state"))
        notes.append([child, answer.state_seq])
    (result,) = context.operate([RuleCall(txid, "noteChild", (notes, *arguments))])
    return read_rule_answer(result, "master record")
