"""What the Aerospike client answers, and what becomes of it; without a server."""

from typing import Any

import pytest

from store import Mode, Read, RecordOperation, Remove, RuleCall, Status, Write
from store.aerospike.batch_records import NOT_SENT, Translator, mark_unsent, to_result, unsent_error
from store.aerospike.store import _waves

KEY = b"k" * 32
WRITE = Write(KEY, {"a": 1}, Mode.UPDATE)
CALL = RuleCall(KEY, "spend", ())
TIMEOUT, NO_RESPONSE, BATCH_FAILED = 9, -15, -16
translator = Translator("namespace", "set", "module")


def answered(operation: RecordOperation, code: int | None, *, in_doubt: bool = False, bins: Any = None) -> Any:
    """The batch record of the operation as the client gives it back."""
    batch_record = translator.to_batch_record(operation)
    assert batch_record.result is NOT_SENT
    batch_record.result, batch_record.in_doubt = code, in_doubt
    batch_record.record = (batch_record.key, {}, bins)
    return batch_record


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (2, Status.NOT_FOUND),
        (5, Status.EXISTS),
        (13, Status.TOO_BIG),
        (27, Status.CONDITION_FALSE),
        (8, Status.OVERLOADED),
        (14, Status.OVERLOADED),
        (18, Status.OVERLOADED),
        (152, Status.OVERLOADED),
        (11, Status.UNAVAILABLE),
        (151, Status.OVERLOADED),
        (22, Status.UNAVAILABLE),
        (81, Status.ERROR),
        (100, Status.ERROR),
    ],
)
def test_a_refusal_of_the_server_is_no_doubt(code: int, status: Status) -> None:
    result = to_result(WRITE, answered(WRITE, code), BATCH_FAILED)
    assert (result.status, result.in_doubt, result.key) == (status, False, KEY)


@pytest.mark.parametrize("operation", [WRITE, CALL, Remove(KEY)], ids=["write", "call", "remove"])
@pytest.mark.parametrize(
    ("code", "told", "batch", "expected"),
    [
        (TIMEOUT, False, BATCH_FAILED, True),  # the server's own timeout: a replica may have it
        (1, False, BATCH_FAILED, True),
        (99, False, BATCH_FAILED, True),  # a code that nobody knows
        (14, True, BATCH_FAILED, True),
        (NO_RESPONSE, True, TIMEOUT, True),
        (NO_RESPONSE, False, TIMEOUT, False),  # the client knows that it was not sent
        (NO_RESPONSE, False, -10, False),
        (NO_RESPONSE, False, 0, True),  # no reason given
        (NO_RESPONSE, False, BATCH_FAILED, True),
        (NOT_SENT, False, TIMEOUT, False),
    ],
)
def test_doubt(operation: RecordOperation, code: int | None, told: bool, batch: int, expected: bool) -> None:
    result = to_result(operation, answered(operation, code, in_doubt=told), batch)
    assert result.status is not Status.OK
    assert result.in_doubt is expected
    if expected:
        assert result.status is (Status.TIMEOUT if batch == TIMEOUT else Status.ERROR)


def test_a_read_is_never_in_doubt() -> None:
    for code in (TIMEOUT, NO_RESPONSE, -10, 1):
        assert not to_result(Read(KEY), answered(Read(KEY), code, in_doubt=True), code).in_doubt


def test_a_connection_that_failed_before_anything_was_sent_is_unavailable() -> None:
    assert to_result(WRITE, answered(WRITE, NO_RESPONSE), -10).status is Status.UNAVAILABLE
    assert to_result(WRITE, answered(WRITE, NO_RESPONSE), -14).status is Status.UNAVAILABLE
    assert to_result(Read(KEY), answered(Read(KEY), NO_RESPONSE), TIMEOUT).status is Status.TIMEOUT


@pytest.mark.parametrize("operation", [Read(KEY), WRITE, CALL, Remove(KEY)], ids=["read", "write", "call", "remove"])
def test_a_client_without_a_node_left_has_done_nothing_though_it_says_all_is_well(operation: RecordOperation) -> None:
    well, untouched = answered(operation, 0, bins={}), answered(operation, 0, bins={})
    well.record = ((*well.key, bytearray(20)), {"ttl": 0, "gen": 1}, {})
    untouched.record = ((*untouched.key, None), {"ttl": 0, "gen": 0}, {})
    mark_unsent([well, untouched])
    assert (well.result, untouched.result) == (0, NOT_SENT)
    assert not to_result(operation, untouched, 1).in_doubt
    error = unsent_error(1)
    assert (error.status, error.in_doubt) == (Status.UNAVAILABLE, False)
    assert "no node" in str(error)


def test_a_call_that_found_no_rules_may_be_repeated_and_one_whose_rule_failed_may_not() -> None:
    for said, status in (
        ("10.0.0.1:3000 UDF: Execution Error 1", Status.UNAVAILABLE),
        ("10.0.0.1:3000 UDF: Execution Error 2", Status.ERROR),
        ("10.0.0.1:3000 function not found", Status.ERROR),
        (None, Status.ERROR),
    ):
        call = answered(CALL, 100)
        call.message = said
        result = to_result(CALL, call, BATCH_FAILED)
        assert (result.status, result.in_doubt) == (status, False)


def test_a_node_that_takes_no_batch_of_that_size_has_done_nothing_of_it() -> None:
    for code in (NO_RESPONSE, 151):
        result = to_result(WRITE, answered(WRITE, code), 151)
        assert (result.status, result.in_doubt) == (Status.OVERLOADED, False)
        assert "batch-max-requests" in result.message
    assert unsent_error(151).status is Status.OVERLOADED


def test_a_rule_without_a_result_is_in_doubt() -> None:
    assert to_result(CALL, answered(CALL, 0, bins={"SUCCESS": {"status": "OK"}}), 0).value == {"status": "OK"}
    for bins in ({}, {"FAILURE": "broken"}):
        result = to_result(CALL, answered(CALL, 0, bins=bins), 0)
        assert (result.status, result.in_doubt) == (Status.ERROR, True)


def test_an_upsert_whose_condition_asks_for_bins_creates_nothing() -> None:
    upsert = Write(KEY, {"a": 1}, Mode.UPSERT, {"b": 2})
    assert translator.to_batch_record(upsert).policy["exists"] == translator.to_batch_record(WRITE).policy["exists"]
    assert to_result(upsert, answered(upsert, 2), 0).status is Status.CONDITION_FALSE
    with pytest.raises(ValueError, match="created"):
        translator.to_batch_record(Write(KEY, {"a": 1}, Mode.CREATE, {"b": 2}))


def test_a_key_that_is_written_to_comes_once_in_each_wave() -> None:
    other = b"o" * 32
    assert _waves([Read(KEY), Read(KEY), Read(other)]) == [[0, 1, 2]]
    assert _waves([WRITE, Read(other)]) == [[0, 1]]
    assert _waves([WRITE, Read(other), Read(KEY), CALL, Read(other)]) == [[0, 1], [2, 4], [3]]
