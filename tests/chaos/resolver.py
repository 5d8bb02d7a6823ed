"""After a chaos run, when nothing is broken any more: asks again whatever was left `unknown`, as a caller would.

What is asked here is written to a history of its own, which is *quiet*: its answers are the last word.
"""

import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from protocol import Client
from protocol.codes import CREATING
from protocol.item_flags import SPEND_IGNORE_LOCKED
from tests.chaos.claims import OPEN, claims_of, named, spending_data
from tests.chaos.history import Answer, HistoryFile, Invocation, Item, events, read_history
from tests.chaos.parents import Parents
from tests.chaos.questions import Question, answers_of, start

_TIMEOUT: Final = 10.0
_AT_ONCE: Final = 200
_LOCKS_EXPIRE_SECONDS: Final = 60.0
_CREATING_PAUSE: Final = 1.0


class Resolver:
    def __init__(self, endpoint: str, parents: Parents, path: Path) -> None:
        self._endpoint = endpoint
        self._parents = parents
        self._path = path
        self._file = HistoryFile(path)
        self._numbers = itertools.count()

    def resolve(self, invocations: Sequence[Invocation]) -> list[Invocation]:
        """Asks again; returns the invocations of it."""
        with Client(self._endpoint) as self._client:
            self._creations([item for item, _ in _last(invocations, ("create",), _is_open_create)])
            self._many(
                "set_locked", dict.fromkeys((parent, False) for (parent, _), _ in _last(invocations, ("set_locked",)))
            )
            open_ones = _open_claims(invocations)
            self._transactions([invocation for _, invocation in open_ones if invocation.operation == "transaction"])
            for operation in ("spend", "unspend"):
                self._many(operation, [item for item, invocation in open_ones if invocation.operation == operation])
        self._file.close()
        return read_history(self._path, quiet=True)

    def _creations(self, items: list[Item]) -> None:
        """Asks until nobody else is said to be creating: the lock of a creator that died expires."""
        until = time.monotonic() + _LOCKS_EXPIRE_SECONDS
        while items:
            answers = [answer for run in _runs(items) for answer in self._ask("create", run)]
            items = [item for item, answer in zip(items, answers, strict=True) if answer.code == CREATING]
            if time.monotonic() > until:
                return
            time.sleep(_CREATING_PAUSE if items else 0)

    def _transactions(self, invocations: Sequence[Invocation]) -> None:
        """All of each, or what is left of it is given back."""
        for invocation in {invocation.items[0][2]: invocation for invocation in invocations}.values():
            items = [(*item[:4], False) for item in invocation.items]
            answer = self._ask("transaction", items)[0]
            left = [item for item in items if item[:2] in named(answer)]
            if left:
                self._ask("unspend", left)

    def _many(self, operation: str, items: Iterable[Item]) -> None:
        for run in _runs(list(items)):
            self._ask(operation, run)

    def _ask(self, operation: str, items: Sequence[Item]) -> list[Answer]:
        flags = SPEND_IGNORE_LOCKED if operation in ("spend", "transaction") else 0
        question = Question(operation, items, _TIMEOUT, flags)
        number, now = next(self._numbers), time.monotonic()
        self._file.asked(number, operation, items, now, now + _TIMEOUT)
        given: Any
        try:
            given = start(self._client, self._parents, question)
        except Exception as error:
            given = error
        answers = answers_of(self._parents, question, given)
        self._file.answered(number, answers, time.monotonic())
        return answers


def _runs(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[first : first + _AT_ONCE] for first in range(0, len(items), _AT_ONCE)]


def _is_open_create(answers: Sequence[Answer]) -> bool:
    return any(answer.executed == "unknown" for answer in answers) and all(answer.code != "OK" for answer in answers)


def _is_open(answers: Sequence[Answer]) -> bool:
    return any(answer.executed == "unknown" for answer in answers)


def _last(
    invocations: Sequence[Invocation], operations: Sequence[str], is_open: Any = _is_open
) -> list[tuple[Item, Invocation]]:
    """The last invocation about each parent of which something is open.

    invocations: in the order in which they were asked.
    """
    answers: dict[int, list[Answer]] = {}
    last: dict[int, tuple[Item, Invocation]] = {}
    for item, answer, invocation in events(invocations, operations):
        answers.setdefault(item[0], []).append(answer)
        last[item[0]] = item, invocation
    return [found for parent, found in last.items() if is_open(answers[parent])]


def _open_claims(invocations: Sequence[Invocation]) -> list[tuple[Item, Invocation]]:
    """The last invocation about each claim that was ever in doubt, or of which something is named as held."""
    open_ones = []
    for spenders in claims_of(invocations).values():
        for data, claim in spenders.items():
            if claim.state == OPEN or _is_open([answer for answer, _ in claim.completions]):
                invocation = claim.invocations[-1]
                item = next(
                    asked
                    for asked in invocation.items
                    if asked[:2] == claim.coin and spending_data(*asked[2:4]) == data
                )
                open_ones.append((item, invocation))
    return open_ones
