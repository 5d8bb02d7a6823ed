"""note_child, a follow-up: a master hears of the states of its children.

Item [txid, [[child index, stateSeq], ...], height]; result true, also where the master is gone: it has nothing to hear
any more. The notes may come in any order, and twice: the newest wins. Where the master then asks for it its children
are counted again, and given its delete-at-height.
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol import codes
from store import RuleCall
from workers.runtime.children.counting import finish_counting
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import MAX_CHILDREN, MAX_SEQ
from workers.runtime.item_shape import Shape, array_field, tuple_field, txid_field, uint_field
from workers.runtime.rule_answer import read_rule_answer

_NOTE: Final = tuple_field(
    "notes: a note", uint_field("notes: child index", MAX_CHILDREN), uint_field("notes: stateSeq", MAX_SEQ)
)
SHAPE: Final = Shape(txid_field(), array_field("notes", _NOTE, 1, MAX_CHILDREN), uint_field("block height"))


def run(context: DispatchContext) -> None:
    calls = context.batch.parse(lambda item: _call(item, context.retention))
    results = context.operate([call for call, _ in calls.values()])
    for (index, (call, height)), result in zip(calls.items(), results, strict=True):
        answer = read_rule_answer(result, "master record")
        error = answer.error
        if error is None:
            error, _ = finish_counting(context, call.key, answer, height)
        if error is not None and error.code == codes.TX_NOT_FOUND:
            error = None
        context.batch.complete_unless(error, index, True)


def _call(item: Sequence[Any], retention: int) -> tuple[RuleCall, int]:
    """The call, and the height of its block."""
    txid, notes, height = item
    return RuleCall(txid, "noteChild", ([list(note) for note in notes], height, retention)), height
