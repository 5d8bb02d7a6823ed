"""note_child, a follow-up: a master hears of the states of its children.

Item [txid, [[child index, stateSeq], ...], height]; result true, also where the master is gone: it has nothing to hear
any more. The notes may come in any order, and twice: the newest wins. Where the master then asks for it its children
are counted again, and given its delete-at-height.
"""

from typing import Any

from protocol import codes
from store import RuleCall
from workers.runtime.children.counting import finish_counting
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import (
    MAX_CHILDREN,
    MAX_SEQ,
    BadItem,
    check_fields,
    check_height,
    check_txid,
    check_uint,
)
from workers.runtime.rule_answer import read_rule_answer


def run(context: DispatchContext) -> None:
    calls = context.batch.parse(lambda item: _parse(item, context.retention))
    results = context.operate([call for call, _ in calls.values()])
    for (index, (call, height)), result in zip(calls.items(), results, strict=True):
        answer = read_rule_answer(result, "master record")
        error = answer.error
        if error is None:
            error, _ = finish_counting(context, call.key, answer, height)
        if error is not None and error.code == codes.TX_NOT_FOUND:
            error = None
        context.batch.complete_unless(error, index, True)


def _parse(item: Any, retention: int) -> tuple[RuleCall, int]:
    """The call, and the height of its block."""
    txid, notes, height = check_fields(item, "txid", "notes", "height")
    call = RuleCall(check_txid(txid), "noteChild", (_check_notes(notes), check_height(height), retention))
    return call, height


def _check_notes(notes: Any) -> list[Any]:
    if type(notes) is not list or not 0 < len(notes) <= MAX_CHILDREN:
        raise BadItem("notes: not an array of at least one")
    for note in notes:
        child, seq = check_fields(note, "child index", "stateSeq")
        check_uint(child, "notes: child index", MAX_CHILDREN)
        check_uint(seq, "notes: stateSeq", MAX_SEQ)
    return notes
