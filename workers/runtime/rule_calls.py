"""One call of a rule for each item, on its master record."""

from collections.abc import Mapping

from store import RuleCall

from .context import DispatchContext
from .rule_answer import RuleAnswer, read_rule_answer


def call_rules(context: DispatchContext, calls: Mapping[int, RuleCall]) -> dict[int, RuleAnswer]:
    """The answers of those that were done, by item index; the items of the others are failed. calls: by item index."""
    answers: dict[int, RuleAnswer] = {}
    for (index, _), result in zip(calls.items(), context.operate(list(calls.values())), strict=True):
        answer = read_rule_answer(result, "record")
        if answer.error is None:
            answers[index] = answer
        else:
            context.batch.fail(index, answer.error)
    return answers
