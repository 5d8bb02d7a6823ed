"""set_locked: locks or unlocks a transaction, its master record here and its child records in a follow-up.

Item [txid, value]; result: the number of child records. The children go to the `children` pool, as a follow-up that the
answer waits for, in the ledger: a worker that waited for them would be one of those that they wait for. It bears the
master's lockSeq, so that of two calls the same one wins on every record.
"""

from typing import Any, Final

from store import RuleCall
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import check_bool, check_fields, check_txid
from workers.runtime.rule_answer import read_rule_answer

# The caller gives none: the rule counts from the transaction's own.
_NO_HEIGHT: Final = 0


def run(context: DispatchContext) -> None:
    batch = context.batch
    calls = batch.parse(lambda item: _parse(item, context.retention))
    results = context.operate(list(calls.values()))
    for (index, call), result in zip(calls.items(), results, strict=True):
        answer = read_rule_answer(result, "record")
        if answer.error is not None:
            batch.fail(index, answer.error)
            continue
        owe_follow_ups(context, call.key, answer, _NO_HEIGHT)
        child_count = answer.child_count or 0
        if child_count:
            item = [call.key, child_count, call.args[0], answer.lock_seq]
            batch.add_awaited_follow_up(index, "lock_children", call.key, child_count, item)
        batch.complete(index, child_count)


def _parse(item: Any, retention: int) -> RuleCall:
    txid, value = check_fields(item, "txid", "value")
    arguments = check_bool(value, "value"), _NO_HEIGHT, retention
    return RuleCall(check_txid(txid), "setLocked", arguments)
