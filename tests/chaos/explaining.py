"""What receipts say of each `unknown` of a run, put in its place: then the checker holds it against the store as if it
had been the answer, so that a verdict that the store contradicts is found.

What is not in the receipts, where they are whole for the time in which it can have been executed, was not executed.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from broker.receipts.reading import Found, Receipts
from protocol import codes
from tests.chaos.history import YES, Answer, Invocation, Item
from tests.chaos.parents import Parents
from utxod.explain import judge
from utxod.fate import NO, UNKNOWN

# The daemon's clock to the time of day, as receipts have it, and as it is now, differ by less.
_TOLERANCE_SECONDS: Final = 0.2


class Explanations:
    """directory: of the receipts. counts: of verdicts, by what they say."""

    def __init__(self, directory: Path, parents: Parents, invocations: Sequence[Invocation]) -> None:
        self.counts: Counter[str] = Counter()
        self._directory = directory
        self._parents = parents
        self._offset = time.time() - time.monotonic()
        ids = {_request_and_item(answer)[0] for each in invocations for answer in each.answers if _is_open(answer)}
        with Receipts(directory) as receipts:
            self._found = receipts.find_all(sorted(ids)) if ids else {}

    def explained(self, invocations: Iterable[Invocation]) -> list[Invocation]:
        """The invocations with the verdicts in place of what was unknown."""
        return [self._explained(invocation) for invocation in invocations]

    def _explained(self, invocation: Invocation) -> Invocation:
        answers, answered = [], invocation.answered
        for item, answer in zip(invocation.items, invocation.answers, strict=True):
            if _is_open(answer):
                answer, done = self._verdict(invocation, item, answer)  # noqa: PLW2901
                answered = max(answered, done)
            answers.append(answer)
        return replace(invocation, answers=answers, answered=answered)

    def _verdict(self, invocation: Invocation, item: Item, answer: Answer) -> tuple[Answer, float]:
        """And when it was done, 0.0 where it was not."""
        request_id, index = _request_and_item(answer)
        found = self._found[request_id]
        explained = judge(self._directory, request_id, index, found)
        executed = explained.executed
        if not explained.is_found and self._is_whole(found, invocation):
            executed = NO
        self.counts[executed] += 1
        if executed == UNKNOWN:
            return answer, 0.0
        if executed == NO:
            return answer._replace(executed=NO), 0.0
        done = max([*(execution.done for execution in found.executions), *(fan_in.time for fan_in in found.fan_ins)])
        return Answer(codes.OK, YES, self._value(invocation.operation, item)), done / 1e6 - self._offset

    def _is_whole(self, found: Found, invocation: Invocation) -> bool:
        """Whether nothing is missing of the time in which it can have been handed out."""
        since, until = invocation.asked - _TOLERANCE_SECONDS, invocation.due + _TOLERANCE_SECONDS
        moments = [round((moment + self._offset) * 1e6) for moment in (since, until)]
        return found.coverage is not None and found.coverage.is_whole(*moments)

    def _value(self, operation: str, item: Item) -> Any:
        """What it must have given."""
        parent = self._parents.parent(item[0])
        if operation == "get":
            return parent.txid.hex()
        if operation == "outpoint":
            output = parent.outputs[item[1]]
            return [output.satoshis, output.locking_script.hex()]
        if operation == "create":
            return parent.children + 1
        return parent.children if operation in ("set_locked", "increment") else None


def _is_open(answer: Answer) -> bool:
    return answer.executed == UNKNOWN and bool(answer.request_id)


def _request_and_item(answer: Answer) -> tuple[bytes, int]:
    digits, _, index = answer.request_id.partition("/")
    return bytes.fromhex(digits), int(index or 0)
