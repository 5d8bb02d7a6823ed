"""One transaction's spends: all of them, or none (P12).

Where one is refused, this attempt gives back what it applied, and what it joined of this transaction's other attempts,
and nothing else: a spend that another attempt relies on stands. In a store whose batches are one whole that is done by
the store. The refusal names the input that was refused, what this spender still holds, and what nobody could look at.
Where a fault falls in the middle, or the giving back fails, the answer is `unknown` and lists the outpoints; asking
again is safe, and `abandon` undoes what the spender holds.

A request's lists stand with one item, to which the others refer by `because`: an answer grows with the request, not
with its square.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import StoreError
from workers.runtime.batch import Request
from workers.runtime.context import Work, read_answer

from .children import owe_what_follows

if TYPE_CHECKING:
    from .spend import Spend

# Of a spend that was to be given back: this attempt has no part in it any more, and that is no failure. (Another hash:
# the output was reassigned.)
_NOTHING_LEFT: Final = frozenset({codes.SPENT, codes.TX_NOT_FOUND, codes.UTXO_HASH_MISMATCH})
_STANDS: Final = frozenset({codes.INVALID_SPEND})


class Tried(NamedTuple):
    """What came of trying the spends, by item. applied: those that were applied by it. lives: of all that stand, the
    life of the output. held: those that were refused, though their spender has the output."""

    applied: set[int]
    lives: dict[int, int]
    held: set[int]


def settle_transactions(
    work: Work,
    transactions: Iterable[Request],
    spends: Mapping[int, "Spend"],
    errors: Mapping[int, Error],
    tried: Tried,
) -> dict[int, Error]:
    """Gives back what must be given back, and returns the errors of all items of the transactions that failed.

    spends: those that were tried, by item. errors: of single items.
    """
    failed = [one for one in transactions if any(item in errors for item in range(one.start, one.end))]
    good = {one: [spends[i] for i in range(one.start, one.end) if i in tried.lives] for one in failed}
    refused = [one for one in failed if any(_is_certain(errors.get(i)) for i in range(one.start, one.end))]
    returned = _give_back(work, [spend for one in refused for spend in good[one]], tried)
    whole: dict[int, Error] = {}
    for one in failed:
        items = range(one.start, one.end)
        stays = [spend for spend in good[one] if one not in refused or spend.item in returned.faults]
        doubtful = [i for i in items if i in errors and errors[i].executed == UNKNOWN]
        if stays or doubtful:
            reason = errors[doubtful[0]] if doubtful else returned.faults[stays[0].item]
            left = [*stays, *(spends[i] for i in doubtful), *_held(one, spends, tried, returned)]
            whole.update(_unknown(one, reason, left))
        else:
            whole.update(_refused(one, errors, spends, _held(one, spends, tried, returned)))
    return whole


class _Returned(NamedTuple):
    """What giving back came to, by item. held: the spend stands, for others. faults: why it may still be there."""

    held: set[int]
    faults: dict[int, Error]


def _is_certain(error: Error | None) -> bool:
    return error is not None and error.executed == NO


def _give_back(work: Work, spends: Sequence["Spend"], tried: Tried) -> _Returned:
    if work.store.is_atomic:  # the store has put everything back: what was there before is what stands
        own = {(spend.group, spend.txid, spend.vout) for spend in spends if spend.item in tried.applied}
        return _Returned({spend.item for spend in spends if (spend.group, spend.txid, spend.vout) not in own}, {})
    try:
        results = work.operate([spend.releasing(work.retention, tried.lives[spend.item]) for spend in spends])
    except StoreError as fault:
        return _Returned(
            set(), {spend.item: Error(codes.STORE_ERROR, UNKNOWN, f"giving back: {fault}") for spend in spends}
        )
    returned = _Returned(set(), {})
    for spend, result in zip(spends, results, strict=True):
        answer = read_answer(result, "giving back")
        if answer.error is None:
            if answer.held:
                returned.held.add(spend.item)
            owe_what_follows(work, spend.record, answer, spend.height, was_done=not answer.applied)
        elif answer.error.code in _STANDS:
            returned.held.add(spend.item)
        elif answer.error.code not in _NOTHING_LEFT:
            returned.faults[spend.item] = answer.error
    return returned


def _held(one: Request, spends: Mapping[int, "Spend"], tried: Tried, returned: _Returned) -> list["Spend"]:
    """What the spender still has: by its last word on each output, where a request names one twice."""
    own = [spends[item] for item in range(one.start, one.end) if item in spends]
    held = {(spend.txid, spend.vout): spend for spend in own if spend.item in tried.held}
    for spend in own:  # what was given back since says more
        if spend.item in returned.held:
            held[spend.txid, spend.vout] = spend
        elif spend.item in tried.lives:
            held.pop((spend.txid, spend.vout), None)
    return list(held.values())


def _unknown(one: Request, reason: Error, left: Sequence["Spend"]) -> dict[int, Error]:
    error = reason._replace(executed=UNKNOWN, details={"because": 0})
    listed = error._replace(details={"because": 0, "outpoints": _outpoints(left)})
    return {**dict.fromkeys(range(one.start, one.end), error), one.start: listed}


def _outpoints(spends: Sequence["Spend"]) -> list[list[Any]]:
    return [list(outpoint) for outpoint in dict.fromkeys((spend.txid, spend.vout) for spend in spends)]


def _refused(
    one: Request, errors: Mapping[int, Error], spends: Mapping[int, "Spend"], held: Sequence["Spend"]
) -> dict[int, Error]:
    """The refused items have their own errors, the others the first one's, with its index in the request."""
    first = min(item for item in errors if one.start <= item < one.end)
    where: dict[str, Any] = {"because": first - one.start}
    if first in spends:
        where["outpoint"] = [spends[first].txid, spends[first].vout]
    other = errors[first]._replace(details=where)
    unseen = [
        spends[item] for item in errors if item in spends and one.start <= item < one.end and _is_fault(errors[item])
    ]
    lists: dict[str, Any] = {
        name: _outpoints(listed) for name, listed in (("held", held), ("unseen", unseen)) if listed
    }
    whole = {item: _located(errors[item], where) if item in errors else other for item in range(one.start, one.end)}
    return {**whole, first: _located(errors[first], where | lists)}


def _is_fault(error: Error) -> bool:
    return error.code in codes.FAULTS


def _located(error: Error, where: dict[str, Any]) -> Error:
    own = {name: value for name, value in error.details.items() if name != "held"}
    return error._replace(details=own | where)
