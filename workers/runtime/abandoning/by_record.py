"""Giving back in a store without groups.

The order is what it stands on. First the creation of each spender is barred, where it has no record: what such a one
holds is read then, so that what is not found is not held, and no accept of before can make it come to be. Where it has
one, it is looked at *after* its outputs were read: a spend that was seen before its transaction was seen to be
conflicting, was made before. Nothing keeps that transaction from being pruned meanwhile, and accepted anew. But a
pruning gives back what it holds before it goes, so what it spends then is another life of the output, and the rule,
which is told the life that was read, leaves that alone.

Where it was so, or the spender has gone since it was met, all of it is looked at again.
"""

from collections.abc import Callable, Sequence

from protocol.wire import Error
from workers.runtime.context import DispatchContext
from workers.runtime.spending.taking_back import owe_taken_back, read_taken_back

from .abandonment import Abandonment, Place, faults_of_items, find_held
from .barring import bar_creations, find_conflicting


def give_back_by_record(context: DispatchContext, abandonments: Sequence[Abandonment]) -> None:
    """Completes each item."""
    going = abandonments
    while going:
        going = _try(context, going)


def _try(context: DispatchContext, going: Sequence[Abandonment]) -> list[Abandonment]:
    """Those that are to be tried once more; the items of the others are completed."""
    there, errors = bar_creations(context, [one.spender for one in going])
    going = find_held(context, _without(context, going, errors.get))
    conflicting, errors = find_conflicting(context, [one.spender for one in going if one.spender in there])
    going = _without(context, going, errors.get)
    gone = there - conflicting
    again = _give_back(context, [one for one in going if one.spender not in gone])
    return [one for one in going if one.spender in gone] + again


def _without(
    context: DispatchContext, going: Sequence[Abandonment], error_of: Callable[[bytes], Error | None]
) -> list[Abandonment]:
    """Those whose spender has no error; the items of the others are failed."""
    left = []
    for one in going:
        error = error_of(one.spender)
        if error is None:
            left.append(one)
        else:
            context.batch.fail(one.item_index, one.error([error], one.open))
    return left


def _give_back(context: DispatchContext, going: Sequence[Abandonment]) -> list[Abandonment]:
    """Those that hold an output in another life than was read; the items of the others are completed."""
    by_index = {one.item_index: one for one in going}
    held = {(one.item_index, place): each for one in going for place, each in one.held.items()}
    calls = [each.spend.unspend_call(context.retention, each.life) for each in held.values()]
    errors: dict[Place, Error] = {}
    anew: dict[int, set[int]] = {}
    for ((index, place), each), result in zip(held.items(), context.try_operate(calls), strict=True):
        answer = read_taken_back(result)
        if answer.error is not None:
            errors[index, place] = answer.error
            continue
        owe_taken_back(context, each.spend, answer)
        if answer.relied_on:
            anew.setdefault(index, set()).add(place)
        elif answer.applied:
            by_index[index].given_back.add(place)
    faults = faults_of_items(context, {key: each.spend for key, each in held.items()}, errors)
    for index, one in by_index.items():
        if index in faults:
            places = faults[index].keys() | anew.get(index, set())
            context.batch.fail(index, one.error(faults[index].values(), sorted(places)))
        elif index not in anew:
            context.batch.complete(index, one.result)
    return [by_index[index] for index in anew if index not in faults]
