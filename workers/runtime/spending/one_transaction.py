"""One transaction's spends: all of them, or none (P12).

Where one is refused, this attempt gives back what it applied, and what it joined of this transaction's other attempts,
and nothing else: a spend that another attempt relies on stands. In a store whose batches are one whole that is done by
the store. The refusal names the input that was refused, what this spender still holds, and what nobody could look at.
Where a fault falls in the middle, or the giving back fails, the answer is `unknown` and lists the outpoints; asking
again is safe, and `unspend` undoes what the spender holds.

A request's lists stand with one item, to which the others refer by `because`: an answer grows with the request, not
with its square.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import StoreError
from workers.runtime.batch import Request
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import read_rule_answer

from .outcomes import SpendOutcomes
from .parsed_spend import ParsedSpend

# Of a spend that was to be given back: this attempt has no part in it any more, and that is no failure. (Another hash:
# the output was reassigned.)
_NOTHING_LEFT: Final = frozenset({codes.SPENT, codes.TX_NOT_FOUND, codes.UTXO_HASH_MISMATCH})
_STANDS: Final = frozenset({codes.INVALID_SPEND})


def roll_back_failed(
    context: DispatchContext,
    transactions: Iterable[Request],
    spends: Mapping[int, ParsedSpend],
    errors: Mapping[int, Error],
    outcomes: SpendOutcomes,
) -> dict[int, Error]:
    """Gives back what must be given back, and returns the errors of all items of the transactions that failed.

    spends: those that were tried, by item index. errors: of single items.
    """
    failed = [request for request in transactions if any(index in errors for index in request.indices)]
    if not failed:
        return {}
    good = {request: [spends[index] for index in request.indices if index in outcomes.lives] for request in failed}
    refused = dict.fromkeys(
        request for request in failed if any(_is_certain(errors.get(index)) for index in request.indices)
    )
    released = _release(context, [spend for request in refused for spend in good[request]], outcomes)
    all_errors: dict[int, Error] = {}
    for request in failed:
        stays = [spend for spend in good[request] if request not in refused or spend.item_index in released.faults]
        in_doubt = [index for index in request.indices if index in errors and errors[index].executed == UNKNOWN]
        held = _held(request, spends, outcomes, released)
        if stays or in_doubt:
            reason = errors[in_doubt[0]] if in_doubt else released.faults[stays[0].item_index]
            left = [*stays, *(spends[index] for index in in_doubt), *held]
            all_errors.update(_unknown_errors(request, reason, left))
        else:
            all_errors.update(_refusals(request, errors, spends, held))
    return all_errors


class _Released(NamedTuple):
    """What giving back came to, by item index. stands: others rely on the spend. faults: why it may still be there."""

    stands: set[int]
    faults: dict[int, Error]


def _is_certain(error: Error | None) -> bool:
    return error is not None and error.executed == NO


def _release(context: DispatchContext, spends: Sequence[ParsedSpend], outcomes: SpendOutcomes) -> _Released:
    if context.store.is_atomic:  # the store has put everything back: what was there before is what stands
        own = {(spend.group, spend.outpoint) for spend in spends if spend.item_index in outcomes.applied}
        return _Released({spend.item_index for spend in spends if (spend.group, spend.outpoint) not in own}, {})
    calls = [spend.release_call(context.retention, outcomes.lives[spend.item_index]) for spend in spends]
    try:
        results = context.operate(calls)
    except StoreError as fault:
        error = Error(codes.STORE_ERROR, UNKNOWN, f"giving back: {fault}")
        return _Released(set(), {spend.item_index: error for spend in spends})
    released = _Released(set(), {})
    for spend, result in zip(spends, results, strict=True):
        answer = read_rule_answer(result, "giving back")
        if answer.error is None:
            if answer.relied_on:
                released.stands.add(spend.item_index)
            owe_follow_ups(context, spend.record, answer, spend.height, was_done=not answer.applied)
        elif answer.error.code in _STANDS:
            released.stands.add(spend.item_index)
        elif answer.error.code not in _NOTHING_LEFT:
            released.faults[spend.item_index] = answer.error
    return released


def _held(
    request: Request, spends: Mapping[int, ParsedSpend], outcomes: SpendOutcomes, released: _Released
) -> list[ParsedSpend]:
    """What the spender still has: by its last word on each output, where a request names one twice."""
    own = [spends[index] for index in request.indices if index in spends]
    held = {spend.outpoint: spend for spend in own if spend.item_index in outcomes.held}
    for spend in own:  # what was given back since says more
        if spend.item_index in released.stands:
            held[spend.outpoint] = spend
        elif spend.item_index in outcomes.lives:
            held.pop(spend.outpoint, None)
    return list(held.values())


def _unknown_errors(request: Request, reason: Error, left: Sequence[ParsedSpend]) -> dict[int, Error]:
    error = reason._replace(executed=UNKNOWN, details={"because": 0})
    listed = error._replace(details={"because": 0, "outpoints": _outpoints(left)})
    return {**dict.fromkeys(request.indices, error), request.start: listed}


def _outpoints(spends: Sequence[ParsedSpend]) -> list[list[Any]]:
    return [list(outpoint) for outpoint in dict.fromkeys(spend.outpoint for spend in spends)]


def _refusals(
    request: Request, errors: Mapping[int, Error], spends: Mapping[int, ParsedSpend], held: Sequence[ParsedSpend]
) -> dict[int, Error]:
    """The refused items have their own errors, the others the first one's, with its index in the request."""
    indices = request.indices
    refused = [index for index in indices if index in errors]
    first = refused[0]
    where: dict[str, Any] = {"because": first - request.start}
    if first in spends:
        where["outpoint"] = list(spends[first].outpoint)
    other = errors[first]._replace(details=where)
    unseen = [spends[index] for index in refused if errors[index].code in codes.FAULTS and index in spends]
    lists: dict[str, Any] = {
        name: _outpoints(listed) for name, listed in (("held", held), ("unseen", unseen)) if listed
    }
    located = {index: _located(errors[index], where) if index in errors else other for index in indices}
    return {**located, first: _located(errors[first], where | lists)}


def _located(error: Error, where: dict[str, Any]) -> Error:
    own = {name: value for name, value in error.details.items() if name != "held"}
    return error._replace(details=own | where)
