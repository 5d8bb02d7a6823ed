"""One transaction's spends: all of them, or none.

Where one is refused, those that this call applied are undone, checking the owner, and the refusal is answered: what was
this spender's before is never undone. Where a fault falls in the middle, or the undoing fails, the answer is `unknown`
and lists the outpoints; asking again is safe, and `abandon` undoes what the spender holds.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import StoreError

from ..batch import Request
from ..work import Work, read_answer
from .children import owe_what_follows

if TYPE_CHECKING:
    from .spend import Spend


def settle_transactions(
    work: Work,
    transactions: Iterable[Request],
    spends: Mapping[int, "Spend"],
    errors: Mapping[int, Error],
    applied: Container[int],
) -> dict[int, Error]:
    """Undoes what must be undone, and returns the errors of all items of the transactions that failed.

    spends: those that were tried, by item. errors: of single items. applied: the items that this call applied.
    """
    failed = [one for one in transactions if any(item in errors for item in range(one.start, one.end))]
    mine = {one: [spends[i] for i in range(one.start, one.end) if i in spends and i in applied] for one in failed}
    refused = [one for one in failed if any(_is_certain(errors.get(i)) for i in range(one.start, one.end))]
    held = _undo(work, [spend for one in refused for spend in mine[one]])
    whole: dict[int, Error] = {}
    for one in failed:
        stays = [spend for spend in mine[one] if one not in refused or spend.item in held]
        doubtful = [i for i in range(one.start, one.end) if i in errors and errors[i].executed == UNKNOWN]
        if stays or doubtful:
            outpoints = stays + [spends[i] for i in doubtful]
            reason = errors[doubtful[0]] if doubtful else held[stays[0].item]
            whole.update(_unknown(one, reason, outpoints))
        else:
            whole.update(_refused(one, errors))
    return whole


def _is_certain(error: Error | None) -> bool:
    return error is not None and error.executed == NO


def _undo(work: Work, spends: Sequence["Spend"]) -> dict[int, Error]:
    """By item, why a spend may still be there."""
    try:
        results = work.operate([spend.undoing(work.retention) for spend in spends])
    except StoreError as fault:
        return {spend.item: Error(codes.STORE_ERROR, UNKNOWN, f"undoing: {fault}") for spend in spends}
    held: dict[int, Error] = {}
    for spend, result in zip(spends, results, strict=True):
        answer = read_answer(result, "undoing")
        if answer.error is not None:
            held[spend.item] = answer.error
        else:
            owe_what_follows(work, spend.txid, answer, spend.height)
    return held


def _unknown(one: Request, reason: Error, outpoints: Sequence["Spend"]) -> dict[int, Error]:
    listed = [[spend.txid, spend.vout] for spend in outpoints]
    error = reason._replace(executed=UNKNOWN, details={"outpoints": listed})
    return dict.fromkeys(range(one.start, one.end), error)


def _refused(one: Request, errors: Mapping[int, Error]) -> dict[int, Error]:
    """The refused items have their own errors, the others the first one's, with its index in the request."""
    first = min(item for item in errors if one.start <= item < one.end)
    other = errors[first]._replace(details={"because": first - one.start})
    return {item: errors.get(item, other) for item in range(one.start, one.end)}
