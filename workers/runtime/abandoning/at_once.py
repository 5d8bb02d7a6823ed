"""Giving back in a store whose batches are one whole: all that a transaction holds, where its record is not there or is
conflicting, in one group; or nothing."""

from collections.abc import Sequence
from typing import Final

from store import Mode, RecordOperation, Remove, Result, Status, Write
from store.layout import ABANDONED
from workers.runtime.context import DispatchContext
from workers.runtime.spending.taking_back import owe_taken_back, read_taken_back
from workers.runtime.store_errors import error_of_record

from .abandonment import NOT_HELD, Abandonment, find_held
from .barring import find_conflicting

_CHANGED: Final = frozenset({Status.EXISTS, Status.NOT_FOUND, Status.CONDITION_FALSE})


def give_back_at_once(context: DispatchContext, abandonments: Sequence[Abandonment]) -> None:
    """Completes each item. What is not as it was taken to be is looked at again: at first, that the spender is not
    there."""
    going = list(abandonments)
    there: set[bytes] = set()
    while going:
        looked = find_held(context, going)
        groups = [(one, _group(context, one, is_there=one.spender in there)) for one in looked]
        results = iter(context.try_operate([operation for _, group in groups for operation in group]))
        told = [(one, [next(results) for _ in group]) for one, group in groups]
        going = [one for one, own in told if not _is_completed(context, one, own)]
        there, errors = find_conflicting(context, [one.spender for one in going])
        for one in going:
            if one.spender in errors:
                context.batch.fail(one.item_index, one.error([errors[one.spender]], one.open))
        going = [one for one in going if one.spender not in errors]


def _group(context: DispatchContext, abandonment: Abandonment, *, is_there: bool) -> list[RecordOperation]:
    """The first operation holds the group to what the spender was found to be."""
    spender, number = abandonment.spender, abandonment.item_index
    back = [each.spend.unspend_call(context.retention) for each in abandonment.held.values()]
    if is_there:
        conflicting = {"conflicting": True}
        return [Write(spender, conflicting, Mode.UPDATE, conflicting, group=number), *back]
    barred = {ABANDONED: True}
    return [Write(spender, barred, Mode.CREATE, group=number), *back, Remove(spender, barred, number)]


def _is_completed(context: DispatchContext, abandonment: Abandonment, results: Sequence[Result]) -> bool:
    """False where it is to be tried once more: something has changed, and nothing was done."""
    places = list(abandonment.held)
    guard, back, removed = results[0], results[1 : len(places) + 1], results[len(places) + 1 :]
    if guard.status in _CHANGED:
        return False
    answers = dict(zip(places, map(read_taken_back, back), strict=True))
    errors = [error_of_record(result, "spender") for result in (guard, *removed) if result.status is not Status.OK]
    errors += [answer.error for answer in answers.values() if answer.error is not None]
    faults = [error for error in errors if error.code not in NOT_HELD]
    if faults:
        context.batch.fail(abandonment.item_index, abandonment.error(faults, abandonment.held))
        return True
    if errors:
        return False
    for place, answer in answers.items():
        owe_taken_back(context, abandonment.held[place].spend, answer)
        if answer.applied:
            abandonment.given_back.add(place)
    context.batch.complete(abandonment.item_index, abandonment.result)
    return True
