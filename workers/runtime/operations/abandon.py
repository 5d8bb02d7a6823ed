"""abandon: gives back what a transaction holds that never came to be.

Item [spending txid, outpoints, height]; result: for each outpoint, whether it was given back now. False: that spender
does not hold it, whether it is unspent, another's, or no output of this set at all. SPENDER_EXISTS where the spender is
in the set and not conflicting, INVALID_SPEND where it was pruned: nothing was given back then. Where a fault falls in
the middle the answer is `unknown` and lists the outpoints that may still stand; asking again is safe.

The outputs are read first, for the hash and the input that the rule wants; it looks again at who holds them. An
`accept` of the spender may still be at work: so before anything is given back its creation is barred, for as long as
such a one can live (abandoning/barring.py). In a store whose batches are one whole the batch does that
(abandoning/at_once.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from protocol.wire import Error
from workers.runtime.abandoning.abandonment import NOT_HELD, Abandonment, find_held, first_faults
from workers.runtime.abandoning.at_once import give_back_at_once
from workers.runtime.abandoning.barring import Barrier
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, array_field, tuple_field, txid_field, uint_field
from workers.runtime.spending.taking_back import owe_taken_back, read_taken_back

MAX_OUTPOINTS: Final = 10_000

SHAPE: Final = Shape(
    txid_field("spending txid"),
    array_field("outpoints", tuple_field("outpoint", txid_field(), uint_field("vout")), 1, MAX_OUTPOINTS),
    uint_field("height"),
)


def run(context: DispatchContext) -> None:
    parsed = context.batch.parse(lambda item: item)
    abandonments = {index: _parse(index, item) for index, item in parsed.items()}
    if context.store.is_atomic:
        give_back_at_once(context, abandonments)
    else:
        _bar_and_give_back(context, abandonments)


def _parse(index: int, item: Sequence[Any]) -> Abandonment:
    spender, outpoints, height = item
    return Abandonment(index, spender, [(txid, vout) for txid, vout in outpoints], height, {}, set())


def _bar_and_give_back(context: DispatchContext, abandonments: Mapping[int, Abandonment]) -> None:
    going = _without(context, abandonments, find_held(context, abandonments))
    barrier = Barrier(context, (abandonment.spender for abandonment in going.values()))
    refused = {index: barrier.refused.get(abandonment.spender) for index, abandonment in going.items()}
    going = _without(context, going, refused)
    _give_back(context, going)
    barrier.unlock()


def _without(
    context: DispatchContext, abandonments: Mapping[int, Abandonment], errors: Mapping[int, Error | None]
) -> dict[int, Abandonment]:
    """Those that have no error; the items of the others are failed."""
    going = {}
    for index, abandonment in abandonments.items():
        error = errors.get(index)
        if error is None:
            going[index] = abandonment
        else:
            context.batch.fail(index, error)
    return going


def _give_back(context: DispatchContext, going: Mapping[int, Abandonment]) -> None:
    """Completes each item."""
    spends = {(index, place): spend for index, one in going.items() for place, spend in one.held.items()}
    results = context.try_operate([spend.unspend_call(context.retention) for spend in spends.values()])
    errors: dict[tuple[int, int], Error] = {}
    for (index, place), result in zip(spends, results, strict=True):
        answer = read_taken_back(result)
        if answer.error is not None:
            errors[index, place] = answer.error
            continue
        owe_taken_back(context, spends[index, place], answer)
        if answer.applied:
            going[index].given_back.add(place)
    faults = first_faults(context, spends, errors)
    left: dict[int, list[int]] = {}
    for (index, place), error in errors.items():
        if error.code not in NOT_HELD:
            left.setdefault(index, []).append(place)
    for index, abandonment in going.items():
        fault = faults.get(index)
        unknown = None if fault is None else abandonment.unknown(fault, left[index])
        context.batch.complete_unless(unknown, index, abandonment.result)
