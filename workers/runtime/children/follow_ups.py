"""What follows from a rule's answer, as owed work for the `children` pool."""

from typing import Final

from store.layout import child_index
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import RuleAnswer

DAH_SET: Final = "DAHSET"
DAH_UNSET: Final = "DAHUNSET"


def owe_follow_ups(
    context: DispatchContext, record: bytes, answer: RuleAnswer, height: int, *, was_done: bool = False
) -> None:
    """A note for the master, or the children's delete-at-height. record: the key that the rule was called on. height:
    of the block that it was called for. was_done: it found something done already, and the note of that may have been
    lost."""
    txid = record[:32]
    if answer.state_seq is not None:
        if answer.signal is not None or was_done:
            context.notes.add(txid, child_index(record), answer.state_seq, height)
    elif answer.signal in (DAH_SET, DAH_UNSET):
        owe_children_dah(context, txid, answer.child_count)


def owe_children_dah(context: DispatchContext, txid: bytes, child_count: int | None) -> None:
    """The child records, where there are some, get their master's delete-at-height. An operation that heals by being
    asked again owes it whether it has changed or not: the word of an earlier call may have been lost."""
    if child_count:
        context.batch.add_owed_follow_up("set_dah_children", txid, child_count, [txid, child_count])
