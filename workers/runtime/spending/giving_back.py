"""What an attempt of a whole transaction gives back where a part of it failed (P12): what it applied, and what it
joined of this transaction's other attempts, and nothing else. A spend that another attempt relies on stands. In a store
whose batches are one whole that is done by the store.

Parts of a transaction are numbered: `errors` are by these numbers. Mostly they are its spends; one that is none of them
(its creation) counts as they do, but holds no output.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import StoreError
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import read_rule_answer

from .outcomes import SpendOutcomes
from .parsed_spend import ParsedSpend

# Of a spend that was to be given back: this attempt has no part in it any more, and that is no failure. (Another hash:
# the output was reassigned.)
_NOTHING_LEFT: Final = frozenset({codes.SPENT, codes.TX_NOT_FOUND, codes.UTXO_HASH_MISMATCH})
_STANDS: Final = frozenset({codes.INVALID_SPEND})


class Failure(NamedTuple):
    """Why a transaction was not done, and what is left of it.

    part, error: the first part that was refused, and its error; where `executed` is UNKNOWN, the part that nobody can
    say all about. left: the outpoints that the spender still has, or may have. unseen: of a refusal, those that nobody
    could look at."""

    part: int
    error: Error
    left: list[Any]
    unseen: list[Any]


def give_back_failed(
    context: DispatchContext,
    transactions: Iterable[range],
    spends: Mapping[int, ParsedSpend],
    errors: Mapping[int, Error],
    outcomes: SpendOutcomes,
) -> dict[range, Failure]:
    """Gives back what must be given back of the transactions that failed, and returns what came of each.

    transactions: the numbers of the parts of each. spends: those that were to be tried. errors: of single parts.
    """
    failed = [parts for parts in transactions if any(part in errors for part in parts)]
    if not failed:
        return {}
    good = {parts: [spends[part] for part in parts if part in outcomes.lives] for parts in failed}
    refused = [parts for parts in failed if any(part in errors and errors[part].executed == NO for part in parts)]
    released = _release(context, [spend for parts in refused for spend in good[parts]], outcomes)
    stays = {
        parts: [one for one in good[parts] if parts not in refused or one.item_index in released.faults]
        for parts in failed
    }
    return {parts: _failure(parts, stays[parts], spends, errors, outcomes, released) for parts in failed}


class _Released(NamedTuple):
    """What giving back came to, by part. stands: others rely on the spend. faults: why it may still be there."""

    stands: set[int]
    faults: dict[int, Error]


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


def _failure(
    parts: range,
    stays: Sequence[ParsedSpend],
    spends: Mapping[int, ParsedSpend],
    errors: Mapping[int, Error],
    outcomes: SpendOutcomes,
    released: _Released,
) -> Failure:
    """stays: the spends that may still be there."""
    in_doubt = [part for part in parts if part in errors and errors[part].executed == UNKNOWN]
    held = _held(parts, spends, outcomes, released)
    if stays or in_doubt:
        part = in_doubt[0] if in_doubt else stays[0].item_index
        error = errors[part] if in_doubt else released.faults[part]
        left = [*stays, *(spends[part] for part in in_doubt if part in spends), *held]
        return Failure(part, error._replace(executed=UNKNOWN), _outpoints(left), [])
    first = next(part for part in parts if part in errors)
    unseen = [spends[part] for part in parts if part in spends and part in errors and errors[part].code in codes.FAULTS]
    return Failure(first, errors[first], _outpoints(held), _outpoints(unseen))


def _held(
    parts: range, spends: Mapping[int, ParsedSpend], outcomes: SpendOutcomes, released: _Released
) -> list[ParsedSpend]:
    """What the spender still has: by its last word on each output, where a request names one twice."""
    own = [spends[part] for part in parts if part in spends]
    held = {spend.outpoint: spend for spend in own if spend.item_index in outcomes.held}
    for spend in own:  # what was given back since says more
        if spend.item_index in released.stands:
            held[spend.outpoint] = spend
        elif spend.item_index in outcomes.lives:
            held.pop(spend.outpoint, None)
    return list(held.values())


def _outpoints(spends: Iterable[ParsedSpend]) -> list[Any]:
    return [list(outpoint) for outpoint in dict.fromkeys(spend.outpoint for spend in spends)]
