"""unspend: undoes what a spender holds.

Item: see spending/parsed_spend.py. Result true where it was undone now, false where the output was unspent; SPENT where
another has it.
"""

from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import read_rule_answer
from workers.runtime.spending.missing_records import explain_missing_records
from workers.runtime.spending.parsed_spend import parse_spends
from workers.runtime.store_errors import error_of_unreadable


def run(context: DispatchContext) -> None:
    batch = context.batch
    spends, errors = parse_spends(context)
    results = context.operate([spend.unspend_call(context.retention) for spend in spends.values()])
    undone: set[int] = set()
    for (index, spend), result in zip(spends.items(), results, strict=True):
        answer = read_rule_answer(result, "record")
        if answer.error is None and answer.applied is not None:
            owe_follow_ups(context, spend.record, answer, spend.height, was_done=not answer.applied)
            if answer.applied:
                undone.add(index)
        elif answer.error is None:
            errors[index] = error_of_unreadable("record", "it does not say what was undone")
        else:
            errors[index] = answer.error
    explain_missing_records(context, spends, errors)
    for index in batch.uncompleted():
        batch.complete_unless(errors.get(index), index, index in undone)
