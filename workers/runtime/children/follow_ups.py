"""What follows from a rule's answer, as owed work for the `children` pool."""

from collections.abc import Mapping
from typing import Final

from store.layout import child_index
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import RuleAnswer

from .last_child import LastChild, read_last_children

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
    """The child records, where there are some, get their master's delete-at-height."""
    if child_count:
        context.batch.add_owed_follow_up("set_dah_children", txid, child_count, [txid, child_count])


def owe_what_is_behind(context: DispatchContext, answers: Mapping[bytes, RuleAnswer]) -> dict[bytes, LastChild]:
    """Of masters that a rule was called on: the children get their delete-at-height where it has changed; or where they
    don't have it yet, as the word of an earlier call may have been lost, and asking again heals that. answers: by
    txid. Returns, of those that have children, what the last one was found to be."""
    counts = {txid: answer.child_count for txid, answer in answers.items() if answer.child_count}
    found = read_last_children(context, counts)
    for txid, last in found.items():
        if last.is_behind or answers[txid].signal in (DAH_SET, DAH_UNSET):
            owe_children_dah(context, txid, counts[txid])
    return found
