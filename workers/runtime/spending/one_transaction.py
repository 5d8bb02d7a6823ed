"""The spends of a request that is marked as one transaction: all of them, or none (P12).

Where one is refused, the others are given back. The refusal names the input that was refused, what this spender still
holds, and what nobody could look at. Where a fault falls in the middle, or the giving back fails, the answer is
`unknown` and lists the outpoints; asking again is safe, and `unspend` undoes what the spender holds.

A request's lists stand with one item, to which the others refer by `because`: an answer grows with the request, not
with its square.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from protocol.codes import UNKNOWN
from protocol.wire import Error
from workers.runtime.batch import Request
from workers.runtime.context import DispatchContext

from .giving_back import Failure, give_back_failed
from .outcomes import SpendOutcomes
from .parsed_spend import ParsedSpend


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
    failures = give_back_failed(context, [request.indices for request in transactions], spends, errors, outcomes)
    all_errors: dict[int, Error] = {}
    for indices, failure in failures.items():
        if failure.error.executed == UNKNOWN:
            all_errors.update(_unknown_errors(indices, failure))
        else:
            all_errors.update(_refusals(indices, failure, spends, errors))
    return all_errors


def _unknown_errors(indices: range, failure: Failure) -> dict[int, Error]:
    error = failure.error._replace(details={"because": 0})
    listed = error._replace(details={"because": 0, "outpoints": failure.left})
    return {**dict.fromkeys(indices, error), indices.start: listed}


def _refusals(
    indices: range, failure: Failure, spends: Mapping[int, ParsedSpend], errors: Mapping[int, Error]
) -> dict[int, Error]:
    """The refused items have their own errors, the others the first one's, with its index in the request."""
    first = failure.part
    where: dict[str, Any] = {"because": first - indices.start}
    if first in spends:
        where["outpoint"] = list(spends[first].outpoint)
    other = failure.error._replace(details=where)
    lists = {name: listed for name, listed in (("held", failure.left), ("unseen", failure.unseen)) if listed}
    located = {index: _located(errors[index], where) if index in errors else other for index in indices}
    return {**located, first: _located(errors[first], where | lists)}


def _located(error: Error, where: dict[str, Any]) -> Error:
    own = {name: value for name, value in error.details.items() if name != "held"}
    return error._replace(details=own | where)
