"""Spends are tried: the rule's calls for them, and what it answers.

Those of one record, block height, flags and transaction are one call, which takes every spend by itself and names it by
its place in the call.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from protocol.item_flags import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from protocol.wire import Error
from store import Result, RuleCall, Value
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import RuleAnswer, failed, read_rule_answer
from workers.runtime.store_errors import error_of_unreadable

from .outcomes import SpendOutcomes
from .parsed_spend import ParsedSpend

_NONE: Final[Mapping[int, Any]] = {}

# Spends of one call.
SpendGroup = Sequence[ParsedSpend]


def try_spends(context: DispatchContext, spends: Sequence[ParsedSpend], errors: dict[int, Error]) -> SpendOutcomes:
    """One call per record; what was refused is added to `errors`. Raises StoreError."""
    groups = group_spends(spends)
    outcomes = SpendOutcomes(set(), {}, set())
    results = context.operate([spend_call(group, context.retention) for group in groups])
    answers = [read_spends(group, result, errors, outcomes) for group, result in zip(groups, results, strict=True)]
    put_back = {spend.group for spend in spends if spend.group is not None and spend.item_index in errors}
    for group, answer in zip(groups, answers, strict=True):
        if group[0].group not in put_back:
            owe_of_spends(context, group, answer, outcomes)
    return outcomes


def group_spends(spends: Sequence[ParsedSpend]) -> Sequence[SpendGroup]:
    """Those of one record, height, flags and transaction together."""
    if len({spend.record for spend in spends}) == len(spends):
        return [(spend,) for spend in spends]
    groups: dict[tuple[bytes, int, int, int | None], list[ParsedSpend]] = {}
    for spend in spends:
        groups.setdefault((spend.record, spend.height, spend.flags, spend.group), []).append(spend)
    return list(groups.values())


def spend_call(group: SpendGroup, retention: int) -> RuleCall:
    """The one call for all of them."""
    first, flags = group[0], group[0].flags
    rest = flags & SPEND_IGNORE_CONFLICTING != 0, flags & SPEND_IGNORE_LOCKED != 0, first.height, retention
    if len(group) == 1:  # as it mostly is: a server takes half as long to unpack it
        return RuleCall(first.record, "spend", (first.offset, first.utxo_hash, first.spending_data, *rest), first.group)
    spends: list[Value] = [
        {"idx": place, "offset": spend.offset, "utxoHash": spend.utxo_hash, "spendingData": spend.spending_data}
        for place, spend in enumerate(group)
    ]
    return RuleCall(first.record, "spendMulti", (spends, *rest), first.group)


def read_spends(group: SpendGroup, result: Result, errors: dict[int, Error], outcomes: SpendOutcomes) -> RuleAnswer:
    """What the call came to: adds to `errors` and `outcomes`, by item index."""
    answer = read_rule_answer(result, "record")
    # As nearly all are; what follows would take a sixth of a spend's time to find that out.
    if len(group) == 1 and answer.applied == [0] and not (answer.error or answer.errors or answer.lives or answer.held):
        outcomes.applied.add(group[0].item_index)
        outcomes.lives[group[0].item_index] = 0
        return answer
    if not _is_about(answer, len(group)):
        answer = failed(error_of_unreadable("record", "it is of other spends than were asked for"))
    error, item_errors, lives = answer.error, answer.errors or _NONE, answer.lives or _NONE
    if error is None and answer.applied is None:
        error = error_of_unreadable("record", "it does not say what was applied")
    for place in answer.held or ():
        spend = group[place]
        outcomes.held.add(spend.item_index)
        fault = error or item_errors.get(place)
        if fault is not None:
            errors[spend.item_index] = fault._replace(details={**fault.details, "held": [list(spend.outpoint)]})
    if error is not None:
        for spend in group:
            errors.setdefault(spend.item_index, error)
        return answer
    for place, spend in enumerate(group):
        if place in item_errors:
            errors.setdefault(spend.item_index, item_errors[place])
        else:
            outcomes.lives[spend.item_index] = lives.get(place, 0)
    for place in answer.applied or ():
        if place not in item_errors:
            outcomes.applied.add(group[place].item_index)
    return answer


def owe_of_spends(context: DispatchContext, group: SpendGroup, answer: RuleAnswer, outcomes: SpendOutcomes) -> None:
    """What follows from the answer, of spends that are not put back."""
    if answer.signal is not None or answer.state_seq is not None:
        was_done = any(
            spend.item_index in outcomes.lives and spend.item_index not in outcomes.applied for spend in group
        )
        owe_follow_ups(context, group[0].record, answer, group[0].height, was_done=was_done)


def _is_about(answer: RuleAnswer, spend_count: int) -> bool:
    """Whether a rule's answer speaks of the places of its call, and of no others."""
    told = answer.applied, answer.lives, answer.errors, answer.held
    return all(max(places) < spend_count for places in told if places)
