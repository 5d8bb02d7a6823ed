"""What a rule answered is believed only where it can be an answer; otherwise its item fails, alone."""

from collections.abc import Sequence
from typing import Any

import pytest

from protocol.wire import Error
from store import Result, RuleCall, Status, Store, open_store
from tests.support.dispatching import HEIGHT, dispatch
from tests.support.wrapped import Wrapped
from workers.runtime.rule_answer import RuleAnswer, read_rule_answer

WELL = ("OK", None)
SPENDER = ("0b" * 32) + "07000000"

MALFORMED = [
    None,
    "OK",
    [],
    {},
    {"status": None, "applied": [0]},
    {"status": "ok", "applied": [0]},
    {"status": "OK", "applied": 0},
    {"status": "OK", "applied": {0: 0}},
    {"status": "OK", "applied": [False]},
    {"status": "OK", "applied": [0.0]},
    {"status": "OK", "applied": ["0"]},
    {"status": "OK", "applied": [-1]},
    {"status": "OK", "applied": [0], "signal": 1},
    {"status": "OK", "applied": [0], "childCount": "1"},
    {"status": "OK", "applied": [0], "stateSeq": 1.5},
    {"status": "OK", "applied": [0], "lives": [0]},
    {"status": "OK", "applied": [0], "lives": {"0": 1}},
    {"status": "OK", "applied": [0], "mine": {0: 1}},
    {"status": "OK", "applied": [0], "errors": [{"errorCode": "SPENT"}]},
    {"status": "ERROR"},
    {"status": "ERROR", "errorCode": "NO_SUCH_CODE"},
    {"status": "ERROR", "errorCode": 5},
    {"status": "ERROR", "errorCode": "OVERLOADED"},
    {"status": "ERROR", "errorCode": "SPENT", "message": b"bytes"},
    {"status": "ERROR", "errorCode": "SPENT", "spendingData": "0b" * 35},
    {"status": "ERROR", "errorCode": "SPENT", "spendingData": "no hexadecimal"},
    {"status": "ERROR", "errors": {0: {"message": "without a code"}}},
    {"status": "ERROR", "errors": {0: {"errorCode": "NO_SUCH_CODE"}}},
    {"status": "ERROR", "errors": {0: {"errorCode": "SPENT", "spendingData": "zz"}}},
    {"status": "ERROR", "errors": {0: "SPENT"}},
]
# Well formed, and not of what was asked for.
OF_OTHER_SPENDS = [
    {"status": "OK"},
    {"status": "OK", "applied": [1]},
    {"status": "OK", "applied": [0], "lives": {1: 1}},
    {"status": "OK", "applied": [], "mine": [1]},
    {"status": "ERROR", "applied": [], "errors": {1: {"errorCode": "SPENT"}}},
]


class Answering(Wrapped):
    """A store that returns `value` for the second call of a rule."""

    def __init__(self, inner: Store, value: Any) -> None:
        super().__init__(inner)
        self._value = value

    def batch_operate(self, record_operations: Sequence[Any], budget: float) -> list[Result]:
        results = self._inner.batch_operate(record_operations, budget)
        if isinstance(record_operations[1], RuleCall):
            results[1] = Result(Status.OK, self._value)
        return results


@pytest.mark.parametrize("value", MALFORMED, ids=repr)
def test_an_answer_that_can_be_none_is_a_fault(value: Any) -> None:
    error = read_rule_answer(Result(Status.OK, value), "record").error
    assert error is not None
    assert (error.code, error.executed) == ("INTERNAL", "unknown")
    assert "record: the store's result can't be read" in error.message


OPERATIONS = ("spend", "unspend", "set_locked", "increment", "note_child")
CASES = [(operation, value) for operation in OPERATIONS for value in MALFORMED]


@pytest.mark.parametrize(("operation", "value"), [*CASES, *[("spend", value) for value in OF_OTHER_SPENDS]], ids=repr)
def test_a_malformed_answer_fails_its_item_alone(operation: str, value: Any) -> None:
    keys = [bytes([number]) * 32 for number in range(3)]
    spends = [[key, 0, key, key, 0, HEIGHT, 0] for key in keys]
    items = {
        "spend": spends,
        "unspend": spends,
        "set_locked": [[key, True] for key in keys],
        "increment": [[key, 1, HEIGHT] for key in keys],
        "note_child": [[key, [[1, 1]], HEIGHT] for key in keys],
    }
    outcomes = dispatch(Answering(open_store("null:"), value), operation, items[operation]).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [WELL, ("INTERNAL", "unknown"), WELL]


@pytest.mark.parametrize("rest", [{}, {"applied": [0]}, {"applied": [0], "lives": {0: 1}}], ids=repr)
@pytest.mark.parametrize("refused", [{"errorCode": "LOCKED"}, {"errors": {0: {"errorCode": "LOCKED"}}}], ids=repr)
def test_what_is_refused_is_not_applied_whatever_else_the_answer_says(
    refused: dict[str, Any], rest: dict[str, Any]
) -> None:
    store = Answering(open_store("null:"), {"status": "ERROR", "applied": [], **rest, **refused})
    keys = [bytes([number]) * 32 for number in range(3)]
    assert dispatch(store, "spend", [[key, 0, key, key, 0, HEIGHT, 0] for key in keys]).codes == ["OK", "LOCKED", "OK"]


def test_a_refusal_names_who_has_spent_it() -> None:
    refusal = {"errorCode": "SPENT", "message": "by another", "spendingData": SPENDER}
    whole = read_rule_answer(Result(Status.OK, {"status": "ERROR", **refusal}), "record").error
    one = read_rule_answer(Result(Status.OK, {"status": "ERROR", "errors": {3: refusal}}), "record")
    assert one.error is None
    assert one.errors == {3: whole}
    assert whole == ("SPENT", "no", "by another", 0, {"spending_txid": b"\x0b" * 32, "spending_vin": 7})


def test_what_a_rule_tells_is_read_by_its_names() -> None:
    told = {"status": "OK", "signal": "DAHSET", "childCount": 2, "applied": [1], "lives": {0: 4}, "mine": [5]}
    answer = read_rule_answer(Result(Status.OK, {**told, "held": True, "stateSeq": 8, "lockSeq": 9}), "record")
    assert (answer.signal, answer.child_count, answer.applied) == ("DAHSET", 2, [1])
    assert (answer.lives, answer.held, answer.relied_on) == ({0: 4}, [5], True)
    assert (answer.state_seq, answer.lock_seq, answer.error, answer.errors) == (8, 9, None, None)


@pytest.mark.parametrize("name", ["error", "-error", "errors_", "-errors", "_error", "child_count", "relied_on"])
def test_a_map_says_nothing_by_other_names_than_the_rules_have(name: str) -> None:
    for value in ([*Error("SPENT", "no", "of no rule")], {0: ["SPENT", "no", "of no rule"]}, 5, True):
        answer = read_rule_answer(Result(Status.OK, {"status": "OK", "applied": [0], name: value}), "record")
        assert answer == RuleAnswer(applied=[0])
