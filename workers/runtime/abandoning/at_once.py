"""Giving back in a store whose batches are one whole: all that a transaction holds, where its record is not there or is
conflicting, in one group; or nothing."""

from collections.abc import Mapping, Sequence
from typing import Final

from protocol.codes import UNKNOWN
from protocol.wire import Error
from store import Mode, Read, RecordOperation, Remove, Result, Status, Write
from store.layout import ABANDONED
from workers.runtime.context import DispatchContext
from workers.runtime.spending.taking_back import owe_taken_back, read_taken_back
from workers.runtime.store_errors import error_of_record

from .abandonment import NOT_HELD, Abandonment, find_held
from .barring import refusal_of_spender

_CHANGED: Final = frozenset({Status.EXISTS, Status.NOT_FOUND, Status.CONDITION_FALSE})


def give_back_at_once(context: DispatchContext, abandonments: Mapping[int, Abandonment]) -> None:
    """Completes each item. What is not as it was taken to be is looked at again: at first, that the spender is not
    there."""
    going = list(abandonments.values())
    there: set[bytes] = set()
    while going:
        looked = _look(context, going)
        groups = [(one, _group(context, one, is_there=one.spender in there)) for one in looked]
        results = iter(context.try_operate([operation for _, group in groups for operation in group]))
        told = [(one, [next(results) for _ in group]) for one, group in groups]
        going = [one for one, own in told if not _is_completed(context, one, own)]
        there = _find_spenders(context, going)


def _look(context: DispatchContext, going: Sequence[Abandonment]) -> list[Abandonment]:
    """Those that may be done; the others' items are failed."""
    errors = find_held(context, {abandonment.item_index: abandonment for abandonment in going})
    for index, error in errors.items():
        context.batch.fail(index, error)
    return [abandonment for abandonment in going if abandonment.item_index not in errors]


def _find_spenders(context: DispatchContext, going: list[Abandonment]) -> set[bytes]:
    """The spenders that are there, and conflicting. The items of those that are there and not so are failed, and gone
    from `going`."""
    results = context.read([Read(abandonment.spender, ("conflicting",)) for abandonment in going])
    there = set()
    for abandonment, result in zip(list(going), results, strict=True):
        if result.status is Status.NOT_FOUND:
            continue
        error = refusal_of_spender(result)
        if error is None:
            there.add(abandonment.spender)
        else:
            context.batch.fail(abandonment.item_index, error)
            going.remove(abandonment)
    return there


def _group(context: DispatchContext, abandonment: Abandonment, *, is_there: bool) -> list[RecordOperation]:
    """The first operation holds the group to what the spender was found to be."""
    spender, number = abandonment.spender, abandonment.item_index
    back = [spend.unspend_call(context.retention) for spend in abandonment.held.values()]
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
    fault = next((error for error in errors if error.code not in NOT_HELD), None)
    if fault is not None:
        context.batch.fail(abandonment.item_index, _error(abandonment, fault))
        return True
    if errors:
        return False
    for place, answer in answers.items():
        owe_taken_back(context, abandonment.held[place], answer)
        if answer.applied:
            abandonment.given_back.add(place)
    context.batch.complete(abandonment.item_index, abandonment.result)
    return True


def _error(abandonment: Abandonment, fault: Error) -> Error:
    return abandonment.unknown(fault, abandonment.held) if fault.executed == UNKNOWN else fault
