"""Is every answer of a chaos run one that could be right? Each is held against what had been asked and answered."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from protocol import codes
from tests.chaos.claims import SPENDS, named
from tests.chaos.history import YES, Answer, Invocation, Item, events
from tests.chaos.parents import Parents

# What a daemon may answer that is broken on purpose; INTERNAL, as its store gives results that are none.
_FAULTS: Final = frozenset(
    {
        codes.STALE, codes.OVERLOADED, codes.UNAVAILABLE, codes.SHUTTING_DOWN, codes.DEADLINE_EXCEEDED,
        codes.WORKER_CRASHED, codes.STORE_ERROR, codes.NO_ANSWER, codes.INTERNAL, "CUT_OFF",
    }
)  # fmt: skip
_REFUSALS: Final = {
    "create": {codes.TX_EXISTS, codes.CREATING},
    "spend": {codes.TX_NOT_FOUND, codes.SPENT, codes.LOCKED, codes.CREATING, codes.COINBASE_IMMATURE},
    "transaction": {codes.TX_NOT_FOUND, codes.SPENT, codes.LOCKED, codes.CREATING, codes.COINBASE_IMMATURE},
    "unspend": {codes.TX_NOT_FOUND, codes.SPENT},
    "get": {codes.TX_NOT_FOUND},
    "outpoint": {codes.TX_NOT_FOUND},
    "set_locked": {codes.TX_NOT_FOUND},
    "increment": {codes.TX_NOT_FOUND},
}

Complain = Callable[[str, str, Sequence[Invocation]], None]


class AnswerChecker:
    """complain: told of each wrong answer: kind, what is wrong, the invocations that show it."""

    def __init__(self, parents: Parents, invocations: Sequence[Invocation], complain: Complain) -> None:
        self._parents = parents
        self._complain = complain
        self._created: dict[int, Invocation] = {}
        self._may_create: dict[int, float] = {}
        self._asked_for: dict[tuple[int, int, str], float] = {}
        self._locked_from: dict[int, float] = defaultdict(lambda: float("inf"))
        self._invocations = invocations

    def check(self) -> None:
        self._learn()
        for item, answer, invocation in events(self._invocations, tuple(_REFUSALS)):
            problem = self._problem(invocation.operation, item, answer, invocation)
            if problem:
                self._complain("wrong answer", f"{list(item)}: {problem}", [invocation])

    def _learn(self) -> None:
        for (number,), answer, invocation in events(self._invocations, ("create",)):
            if answer.code == "OK":
                if number in self._created:
                    self._complain(
                        "wrong answer", f"parent {number} was created twice", [self._created[number], invocation]
                    )
                self._created[number] = invocation
            if answer.executed != "no":
                self._may_create[number] = min(invocation.asked, self._may_create.get(number, float("inf")))
        for item, _, invocation in events(self._invocations, ("spend", "transaction")):
            self._asked_for.setdefault(item[:3], invocation.asked)
        for (number, value), answer, invocation in events(self._invocations, ("set_locked",)):
            if value and answer.executed != "no":
                self._locked_from[number] = min(self._locked_from[number], invocation.asked)

    def _problem(self, operation: str, item: Item, answer: Answer, invocation: Invocation) -> str:
        if answer.executed == YES:
            if operation in SPENDS and self._is_immature(item):
                return "spent before its height"
            return self._wrong_result(operation, item, answer.value)
        if not named(answer) <= {asked[:2] for asked in invocation.items}:
            return "it names what was not asked for"
        code, number = answer.code, item[0]
        if code not in _FAULTS and code not in _REFUSALS[operation]:
            return f"{code} is no answer to this"
        if answer.executed == "unknown" or code in _FAULTS:
            return ""
        if operation == "transaction":
            # One answer stands for all of its items.
            is_immature = code == codes.COINBASE_IMMATURE and not any(map(self._is_immature, invocation.items))
            return "none of it is immature" if is_immature else ""
        if code == codes.COINBASE_IMMATURE and not self._is_immature(item):
            return "said to be immature, which it is not"
        created = self._created.get(number)
        if code == codes.TX_NOT_FOUND and created is not None and 0 < created.answered < invocation.asked:
            return "not found, though it had been created"
        if code == codes.TX_EXISTS and not self._may_create.get(number, float("inf")) < invocation.answered:
            return "said to exist before anybody had created it"
        if code == codes.LOCKED and not self._locked_from[number] < invocation.answered:
            return "said to be locked, which nobody asked for"
        if (
            code == codes.SPENT
            and not self._asked_for.get((number, item[1], answer.value), 1e300) < invocation.answered
        ):
            return "said to be spent by one that never asked for it"
        return ""

    def _is_immature(self, item: Item) -> bool:
        """Of a spend: whether it was asked for too early."""
        return bool(item[4]) and self._parents.parent(item[0]).is_coinbase

    def _wrong_result(self, operation: str, item: Item, value: Any) -> str:
        parent = self._parents.parent(item[0])
        if operation == "get" and value != parent.txid.hex():
            return f"another transaction's record: {value}"
        if operation == "outpoint":
            output = parent.outputs[item[1]]
            if value != [output.satoshis, output.locking_script.hex()]:
                return f"another output: {value}"
        if operation == "create" and value != parent.children + 1:
            return f"{value} records, not {parent.children + 1}"
        if operation in ("set_locked", "increment") and value != parent.children:
            return f"{value} child records, not {parent.children}"
        return ""
