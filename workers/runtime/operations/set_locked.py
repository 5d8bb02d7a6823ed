"""set_locked: locks or unlocks a transaction, its master record here and its child records downstream.

Item [txid, value]; result: the number of child records. The children go to the `children` pool as follow-up work that
the answer waits for, in the ledger: a worker that waited for them would be one of those that they wait for. It bears
the master's lockSeq, so that of two calls the same one wins on every record.
"""

from typing import Final

from store import RuleCall
from workers.runtime.checks import BadItem, check_bool, check_fields, check_txid
from workers.runtime.context import Work, read_answer

from .children import owe_what_follows

# The caller gives none: the rule counts from the transaction's own.
_HEIGHT: Final = 0


def run(work: Work) -> None:
    batch = work.batch
    indices: list[int] = []
    calls: list[RuleCall] = []
    for index in batch.open():
        try:
            txid, value = check_fields(batch.items[index], "txid", "value")
            args = (check_bool(value, "value"), _HEIGHT, work.retention)
            calls.append(RuleCall(check_txid(txid), "setLocked", args))
            indices.append(index)
        except BadItem as fault:
            batch.fail(index, fault.error)
    for index, call, result in zip(indices, calls, work.operate(calls), strict=True):
        answer = read_answer(result, "record")
        if answer.error is not None:
            batch.fail(index, answer.error)
            continue
        owe_what_follows(work, call.key, answer, _HEIGHT)
        children = answer.child_count or 0
        if children:
            batch.follow(
                index, "lock_children", call.key, children, [call.key, children, call.args[0], answer.lock_seq]
            )
        batch.complete(index, children)
