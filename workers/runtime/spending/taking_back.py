"""What the rule `unspend` says of a spend that is to be taken back."""

from store import Result
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import RuleAnswer, failed, read_rule_answer
from workers.runtime.store_errors import error_of_unreadable

from .parsed_spend import ParsedSpend


def read_taken_back(result: Result) -> RuleAnswer:
    """Its `applied` is empty where there was nothing to take back; where it does not say, it is one that failed."""
    answer = read_rule_answer(result, "record")
    if answer.error is None and answer.applied is None:
        return failed(error_of_unreadable("record", "it does not say what was undone"))
    return answer


def owe_taken_back(context: DispatchContext, spend: ParsedSpend, answer: RuleAnswer) -> None:
    """What follows from it, where it went well."""
    owe_follow_ups(context, spend.record, answer, spend.height, was_done=not answer.applied)
