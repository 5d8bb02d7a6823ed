"""abandon: gives back what a transaction holds that never came to be.

Item [spending txid, outpoints, height]; result: for each outpoint, whether it was given back now. False: that spender
does not hold it, whether it is unspent, another's, or no output of this set at all. SPENDER_EXISTS where the spender is
in the set and not conflicting, INVALID_SPEND where it was pruned: nothing was given back then. Where a fault falls in
the middle the answer is `unknown` and lists the outpoints that may still stand; asking again is safe.

The outputs are read, for the hash and the input that the rule wants; it looks again at who holds them. An `accept` of
the spender may still be at work: in a store whose batches are one whole the batch keeps it out
(abandoning/at_once.py); elsewhere see abandoning/by_record.py.

A dispatch may name millions of outpoints: it takes as many items at a time as have no more than an item may have, and
so is bound by its time, and in its memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from protocol.codes import NO
from store import StoreError
from workers.runtime.abandoning.abandonment import Abandonment
from workers.runtime.abandoning.at_once import give_back_at_once
from workers.runtime.abandoning.by_record import give_back_by_record
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, array_field, tuple_field, txid_field, uint_field
from workers.runtime.store_errors import error_of_batch

MAX_OUTPOINTS: Final = 10_000

SHAPE: Final = Shape(
    txid_field("spending txid"),
    array_field("outpoints", tuple_field("outpoint", txid_field(), uint_field("vout")), 1, MAX_OUTPOINTS),
    uint_field("height"),
)


def run(context: DispatchContext) -> None:
    give_back = give_back_at_once if context.store.is_atomic else give_back_by_record
    for items in _in_parts(context.batch.parse(tuple)):
        try:
            context.check_budget()
        except StoreError as error:
            context.batch.fail_uncompleted(error_of_batch(error, NO))  # those that were begun are completed
            return
        give_back(context, [_abandonment(index, *item) for index, item in items])


def _abandonment(index: int, spender: bytes, outpoints: Sequence[tuple[bytes, int]], height: int) -> Abandonment:
    return Abandonment(index, spender, outpoints, height, {}, set())


def _in_parts(items: Mapping[int, Sequence[Any]]) -> Iterator[list[tuple[int, Sequence[Any]]]]:
    """Of no more outpoints than MAX_OUTPOINTS each."""
    part: list[tuple[int, Sequence[Any]]] = []
    count = 0
    for index, item in items.items():
        if part and count + len(item[1]) > MAX_OUTPOINTS:
            yield part
            part, count = [], 0
        part.append((index, item))
        count += len(item[1])
    if part:
        yield part
