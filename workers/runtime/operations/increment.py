"""increment: corrects the count of child records that are fully spent, on their master.

Item [txid, delta, block height]; result [signal or nil, child count]. Where the master knows the states of its children
the delta is not believed: the children are asked, and noted, in the same dispatch, so that the counter is right
afterwards, and asking again is safe. Where the count completes the transaction, or it is complete no longer, the
children's delete-at-height follows here too: this pool feeds no other.
"""

from typing import NamedTuple

from store import RuleCall
from workers.runtime.checks import BadItem, check_fields, check_height, check_txid
from workers.runtime.context import Work, read_answer

from .children import note_children

_MAX_DELTA = 1 << 31


class _Increment(NamedTuple):
    item: int
    txid: bytes
    height: int
    call: RuleCall


def run(work: Work) -> None:
    batch = work.batch
    increments: list[_Increment] = []
    for index in batch.open():
        try:
            increments.append(_parse(work, index))
        except BadItem as fault:
            batch.fail(index, fault.error)
    results = work.operate([increment.call for increment in increments])
    for increment, result in zip(increments, results, strict=True):
        answer = read_answer(result, "record")
        error, signal = answer.error, None
        if error is None:
            error, signal = note_children(work, increment.txid, answer, increment.height)
        if error is not None:
            batch.fail(increment.item, error)
        else:
            batch.complete(increment.item, [signal, answer.child_count or 0])


def _parse(work: Work, index: int) -> _Increment:
    txid, delta, height = check_fields(work.batch.items[index], "txid", "delta", "block height")
    check_txid(txid)
    check_height(height)
    if type(delta) is not int or abs(delta) > _MAX_DELTA:
        raise BadItem("delta: not an integer of 32 bits")
    call = RuleCall(txid, "incrementSpentExtraRecs", (delta, height, work.retention))
    return _Increment(index, txid, height, call)
