"""spend: outputs are marked as spent by a transaction.

Item: see spending/parsed_spend.py. Result true where it was applied now, false where it was this spender's before.

The spends of a batch are grouped by record, block height and flags: one call of the rule each, which takes every spend
by itself and names it by its place in the call. Those of a request that is marked as one transaction are all applied or
none: spending/one_transaction.py; in a store whose batches are one whole they are a group of their own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from protocol.item_flags import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from protocol.wire import ONE_TRANSACTION, Error
from store import Result, RuleCall, Value
from store.layout import TXID_BYTES
from workers.runtime.batch import Request
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import BadItem
from workers.runtime.rule_answer import RuleAnswer, failed, read_rule_answer
from workers.runtime.spending.missing_records import explain_missing_records
from workers.runtime.spending.one_transaction import roll_back_failed
from workers.runtime.spending.outcomes import SpendOutcomes
from workers.runtime.spending.parsed_spend import ParsedSpend, parse_spends
from workers.runtime.store_errors import error_of_unreadable

_NONE: Final[Mapping[int, Any]] = {}


def run(context: DispatchContext) -> None:
    batch = context.batch
    spends, errors = parse_spends(context)
    transactions = [request for request in batch.requests if request.flags & ONE_TRANSACTION and request.error is None]
    for group, request in enumerate(transactions):
        _withhold_unless_whole(request, spends, errors)
        if context.store.is_atomic:
            for index in request.indices:
                if index in spends:
                    spends[index].group = group
    outcomes = _try(context, list(spends.values()), errors)
    explain_missing_records(context, spends, errors)
    errors |= roll_back_failed(context, transactions, spends, errors, outcomes)
    for index in batch.uncompleted():
        batch.complete_unless(errors.get(index), index, index in outcomes.applied)


def _withhold_unless_whole(request: Request, spends: dict[int, ParsedSpend], errors: dict[int, Error]) -> None:
    """A transaction with an item that can't be tried is not begun."""
    indices = request.indices
    if len({spends[index].spending_data[:TXID_BYTES] for index in indices if index in spends}) > 1:
        errors[request.start] = BadItem("spending txid: not the same for all spends of one transaction").error
    if any(index in errors for index in indices):
        for index in indices:
            spends.pop(index, None)


def _try(context: DispatchContext, spends: Sequence[ParsedSpend], errors: dict[int, Error]) -> SpendOutcomes:
    """One call per record; what was refused is added to `errors`."""
    groups = _group(spends)
    outcomes = SpendOutcomes(set(), {}, set())
    results = context.operate([_call(group, context.retention) for group in groups])
    answers = [_read(group, result, errors, outcomes) for group, result in zip(groups, results, strict=True)]
    put_back = {spend.group for spend in spends if spend.group is not None and spend.item_index in errors}
    for group, answer in zip(groups, answers, strict=True):
        if (answer.signal is not None or answer.state_seq is not None) and group[0].group not in put_back:
            was_done = any(
                spend.item_index in outcomes.lives and spend.item_index not in outcomes.applied for spend in group
            )
            owe_follow_ups(context, group[0].record, answer, group[0].height, was_done=was_done)
    return outcomes


def _group(spends: Sequence[ParsedSpend]) -> Sequence[Sequence[ParsedSpend]]:
    """Those of one record, height, flags and transaction together."""
    if len({spend.record for spend in spends}) == len(spends):
        return [(spend,) for spend in spends]
    groups: dict[tuple[bytes, int, int, int | None], list[ParsedSpend]] = {}
    for spend in spends:
        groups.setdefault((spend.record, spend.height, spend.flags, spend.group), []).append(spend)
    return list(groups.values())


def _call(group: Sequence[ParsedSpend], retention: int) -> RuleCall:
    """group: spends of one record, height, flags and transaction."""
    first, flags = group[0], group[0].flags
    rest = flags & SPEND_IGNORE_CONFLICTING != 0, flags & SPEND_IGNORE_LOCKED != 0, first.height, retention
    if len(group) == 1:  # as it mostly is: a server takes half as long to unpack it
        return RuleCall(first.record, "spend", (first.offset, first.utxo_hash, first.spending_data, *rest), first.group)
    spends: list[Value] = [
        {"idx": place, "offset": spend.offset, "utxoHash": spend.utxo_hash, "spendingData": spend.spending_data}
        for place, spend in enumerate(group)
    ]
    return RuleCall(first.record, "spendMulti", (spends, *rest), first.group)


def _read(
    group: Sequence[ParsedSpend], result: Result, errors: dict[int, Error], outcomes: SpendOutcomes
) -> RuleAnswer:
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


def _is_about(answer: RuleAnswer, spend_count: int) -> bool:
    """Whether a rule's answer speaks of the places of its call, and of no others."""
    told = answer.applied, answer.lives, answer.errors, answer.held
    return all(max(places) < spend_count for places in told if places)
