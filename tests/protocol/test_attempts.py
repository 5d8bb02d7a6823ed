"""What may be asked again, when, and what several attempts come to together: the whole table."""

import re
from pathlib import Path

import msgpack
import pytest

from protocol import UtxodError, codes, wire
from protocol.client import questions
from protocol.client.attempts import FIRST_PAUSE, LONGEST_PAUSE, TWICE, Attempts
from protocol.client.call import REPORT_CALL, Call
from protocol.client.questions import Operation
from protocol.wire import Error

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
OPERATIONS = {value.name for value in vars(questions).values() if isinstance(value, Operation)} | {REPORT_CALL}
NEVER_TWICE = {"freeze", "unfreeze", "reassign", "increment"}
FINAL_FAULTS = {codes.BAD_REQUEST, codes.TOO_LARGE, codes.UNSUPPORTED}
PASSING_REJECTIONS = {codes.CREATING, codes.ABANDONED}
CODES = codes.FAULTS | codes.REJECTIONS
NOW = 1000.0


def call_of(count: int = 1, operation: str = "get", flags: int = 0) -> Call:
    return Call(operation, b"".join(msgpack.packb([index]) for index in range(count)), count, flags)


def answered(attempts: Attempts, call: Call, errors: dict[int, Error], jitter: float = 0.0) -> None:
    call.settle([None if place in errors else f"result {place}" for place in range(call.count)], errors)
    attempts.take(call, NOW, jitter)


def due_after(error: Error, operation: str = "get", jitter: float = 0.0) -> float | None:
    call = call_of(operation=operation)
    attempts = Attempts(call)
    answered(attempts, call, {0: error}, jitter)
    return attempts.due


def items_of(call: Call) -> list[int]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(bytes(call.payload))
    return [item for (item,) in unpacker]


def test_every_operation_of_the_client_is_in_the_table() -> None:
    assert set(TWICE) == OPERATIONS
    assert {operation for operation, twice in TWICE.items() if not twice} == NEVER_TWICE


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_what_was_not_executed_is_asked_again_where_its_reason_passes(operation: str) -> None:
    again = {code for code in CODES if due_after(Error(code, codes.NO), operation) is not None}
    assert again == codes.FAULTS - FINAL_FAULTS | PASSING_REJECTIONS


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_what_may_have_been_executed_is_asked_again_where_the_operation_may_be_asked_twice(operation: str) -> None:
    again = {code for code in CODES if due_after(Error(code, codes.UNKNOWN), operation) is not None}
    assert again == (set() if operation in NEVER_TWICE else CODES)


def test_the_documents_table_says_the_same() -> None:
    section = PROTOCOL.read_text().split("## Asking again")[1]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    said = {name: answer.strip() for names, answer in rows for name in re.findall(r"`(\w+)`|(STATUS)", names)}
    assert {named or REPORT_CALL: answer == "yes" for (named, _), answer in said.items()} == TWICE


def test_a_code_nobody_knows_is_asked_again_where_the_daemon_says_when() -> None:
    assert due_after(Error("PRUNING", codes.NO)) is None
    assert due_after(Error("PRUNING", codes.NO, "", 100)) == NOW + 0.1
    assert due_after(Error(codes.LOCKED, codes.NO, "", 100)) is None


def test_what_the_daemon_says_is_the_least_and_else_the_pauses_double_up_to_a_bound() -> None:
    assert due_after(Error(codes.OVERLOADED, codes.NO, "", 400)) == NOW + 0.4
    assert due_after(Error(codes.OVERLOADED, codes.NO, "", 400), jitter=1.0) == NOW + 0.5
    call = call_of()
    attempts = Attempts(call)
    longest, shortest = [], FIRST_PAUSE / 2
    for _ in range(8):
        answered(attempts, call, {0: Error(codes.NO_ANSWER, codes.NO)}, jitter=1.0)
        longest.append(attempts.due - NOW)
        call = attempts.next()
    assert longest == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, LONGEST_PAUSE, LONGEST_PAUSE])
    assert due_after(Error(codes.NO_ANSWER, codes.NO)) == NOW + shortest


def test_only_the_items_that_may_be_are_asked_again_and_the_results_stay_in_order() -> None:
    call = call_of(5)
    attempts = Attempts(call)
    overloaded, found = Error(codes.OVERLOADED, codes.NO, "", 10), Error(codes.TX_NOT_FOUND, codes.NO)
    answered(attempts, call, {0: overloaded, 2: found, 4: Error(codes.WORKER_CRASHED, codes.UNKNOWN)})
    second = attempts.next()
    assert items_of(second) == [0, 4]
    answered(attempts, second, {1: overloaded})
    third = attempts.next()
    assert items_of(third) == [4]
    answered(attempts, third, {})
    assert attempts.due is None
    whole = attempts.settle()
    assert whole.results == ["result 0", "result 1", None, "result 3", "result 0"]
    assert whole.errors == {2: found}


def test_an_item_that_is_to_wait_longer_holds_up_no_other() -> None:
    call = call_of(2)
    attempts = Attempts(call)
    soon, late = Error(codes.OVERLOADED, codes.NO, "", 10), Error(codes.CREATING, codes.NO, "", 60_000)
    answered(attempts, call, {0: late, 1: soon})
    assert attempts.due == NOW + 0.01
    assert items_of(attempts.next()) == [1]
    assert attempts.due == NOW + 60
    assert items_of(attempts.next()) == [0]


def test_a_transactions_spends_are_asked_again_all_or_none() -> None:
    spent, because = Error(codes.SPENT, codes.NO), {"because": 0}
    for errors, again in (
        ([Error(codes.CREATING, codes.NO, "", 10, because), Error(codes.CREATING, codes.NO, "", 20, because)], True),
        ([Error(codes.CREATING, codes.NO, "", 10, because), spent], False),
        ([Error(codes.STORE_ERROR, codes.UNKNOWN, "", 0, because)] * 2, True),
    ):
        call = call_of(2, "spend", wire.ONE_TRANSACTION)
        attempts = Attempts(call)
        answered(attempts, call, dict(enumerate(errors)))
        assert (attempts.due is not None) == again
        if again:
            second = attempts.next()
            assert (items_of(second), second.flags) == ([0, 1], wire.ONE_TRANSACTION)


def test_unknown_stays_whatever_a_later_attempt_says() -> None:
    unknown = Error(codes.STORE_ERROR, codes.UNKNOWN, "timeout", 0, {"outpoints": [[b"a", 0]], "vin": 1})
    for last in (
        Error(codes.OVERLOADED, codes.NO, "full", 10),
        Error(codes.SPENT, codes.NO, "full", 0, {"vin": 2, "held": [[b"a", 0]]}),
        Error(codes.NO_ANSWER, codes.UNKNOWN, "lost"),
    ):
        call = call_of(operation="accept")
        attempts = Attempts(call)
        answered(attempts, call, {0: unknown})
        second = attempts.next()
        answered(attempts, second, {0: last})
        error = attempts.settle().errors[0]
        assert (error.code, error.executed) == (last.code, codes.UNKNOWN)
        assert error.details == {**unknown.details, **last.details}
        if last.executed == codes.NO:
            assert error.message == "full; asked before: STORE_ERROR, unknown"


@pytest.mark.parametrize(
    "last",
    [
        [Error(codes.SPENT, codes.NO, "", 0, {"because": 1})] * 2,
        [Error(codes.WORKER_CRASHED, codes.UNKNOWN)] * 2,
    ],
)
def test_what_of_a_transaction_may_stand_is_told_by_the_error_that_is_raised(last: list[Error]) -> None:
    outpoints = [[b"a", 0], [b"b", 0]]
    question = questions.SPEND.together([(b"a", 0), (b"b", 0)])
    attempts = Attempts(question.call)
    unknown = Error(codes.STORE_ERROR, codes.UNKNOWN, "", 0, {"because": 0})
    first = unknown._replace(details={"because": 0, "outpoints": outpoints})
    answered(attempts, question.call, {0: first, 1: unknown})
    answered(attempts, attempts.next(), dict(enumerate(last)))
    with pytest.raises(UtxodError) as caught:
        question.read(attempts.settle())
    assert caught.value.code == last[0].code
    assert (caught.value.executed, caught.value.details["outpoints"]) == ("unknown", outpoints)


UNSENT = Error(codes.NO_ANSWER, codes.NO, "no daemon to send it to in time")


def test_an_attempt_that_never_left_says_nothing_of_those_before_it() -> None:
    for first, message in (
        (Error(codes.OVERLOADED, codes.NO, "full", 10), "full"),
        (Error(codes.WORKER_CRASHED, codes.UNKNOWN, "it is gone"), "it is gone"),
        (Error(codes.NO_ANSWER, codes.UNKNOWN, ""), ""),
    ):
        call = call_of()
        attempts = Attempts(call)
        call.request_id = b"\x11"
        answered(attempts, call, {0: first})
        for _ in range(2):
            answered(attempts, attempts.next(), {0: UNSENT})
            assert attempts.due is not None
        whole = attempts.settle()
        told = f"{message}; asked again: {UNSENT.message}".removeprefix("; ")
        assert whole.errors[0] == first._replace(message=told)
        assert whole.id_of(0) == "11/0"
        answered(attempts, attempts.next(), {0: Error(codes.LOCKED, codes.NO, "locked")})
        error = attempts.settle().errors[0]
        assert (error.code, error.executed, "again" in error.message) == (codes.LOCKED, first.executed, False)


def test_where_none_has_left_the_last_says_why() -> None:
    call = call_of()
    attempts = Attempts(call)
    answered(attempts, call, {0: UNSENT._replace(message="it is being looked up")})
    answered(attempts, attempts.next(), {0: UNSENT})
    assert attempts.settle().errors[0] == UNSENT


def test_the_end_of_the_client_is_told_of_all_that_was_to_be_asked_again() -> None:
    """Whether it came before an attempt, or before one that was asked has left."""
    closed = Error(codes.NO_ANSWER, codes.NO, "the client is closed")
    soon, late = Error(codes.OVERLOADED, codes.NO, "full", 10), Error(codes.CREATING, codes.UNKNOWN, "", 60_000)
    call = call_of(3)
    attempts = Attempts(call)
    answered(attempts, call, {0: soon, 1: late})
    second = attempts.next()
    second.deadline = NOW + 5
    answered(attempts, second, {0: closed})
    assert attempts.settle().errors[0] == closed
    attempts.next()
    attempts.end(closed)
    assert attempts.due is None
    errors = attempts.settle().errors
    assert [(errors[index].code, errors[index].executed) for index in sorted(errors)] == [
        (codes.NO_ANSWER, codes.NO),
        (codes.NO_ANSWER, codes.UNKNOWN),
    ]
    assert all(error.message.startswith(closed.message) for error in errors.values())


def test_no_stays_no_and_a_result_is_a_result() -> None:
    overloaded = Error(codes.OVERLOADED, codes.NO, "", 10)
    call = call_of(2, "increment")
    attempts = Attempts(call)
    answered(attempts, call, {0: overloaded, 1: overloaded})
    answered(attempts, attempts.next(), {0: overloaded})
    whole = attempts.settle()
    assert whole.errors == {0: overloaded}
    assert whole.results[1] == "result 1"
