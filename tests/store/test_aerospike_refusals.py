"""Batches that the servers refuse, because the rules were removed or the batch is too large: what comes of them, and
what the log says."""

import logging
from collections.abc import Callable

import pytest

from store import Mode, Read, RecordOperation, RuleCall, Status, Write, open_store
from store.aerospike.failure_log import QUIET_SECONDS, FailureLog
from tests.support.scripted_aerospike import ScriptedCluster
from tests.support.storing import KEY

URL = "aerospike://one/coins"
Make = Callable[[int], list[RecordOperation]]


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "utxod.store")


def keys(count: int) -> list[bytes]:
    """Spread over all nodes alike."""
    return [bytes([number % 256]) + number.to_bytes(31, "big") for number in range(count)]


def calls(count: int) -> list[RecordOperation]:
    return [RuleCall(key, "spend", ()) for key in keys(count)]


def limit(cluster: ScriptedCluster, *limits: int) -> None:
    for node, node_limit in zip(cluster.nodes, limits, strict=True):
        node.limit = node_limit


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "utxod.store"]


def test_rules_that_were_removed_are_registered_again_and_the_calls_may_be_repeated(
    cluster: ScriptedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(URL)
    cluster.remove_rules()
    refused = store.batch_operate(calls(6), 30)
    assert {(result.status, result.in_doubt) for result in refused} == {(Status.UNAVAILABLE, False)}
    assert "does not have the rules" in refused[0].message
    assert any("were removed from one, three, two: registered again" in line for line in lines(caplog))
    assert {result.status for result in store.batch_operate(calls(6), 30)} == {Status.OK}


def test_only_the_node_that_lacks_the_rules_refuses(cluster: ScriptedCluster) -> None:
    store = open_store(URL)
    cluster.nodes[1].modules.clear()
    results = store.batch_operate(calls(6), 30)
    assert [result.status for result in results] == [Status.OK, Status.UNAVAILABLE, Status.OK] * 2


def test_rules_that_cannot_be_registered_are_asked_for_once_a_second_not_by_each_call(
    cluster: ScriptedCluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    store = open_store(URL)
    for _ in range(5):
        cluster.remove_rules()
        store.batch_operate(calls(3), 30)
    assert cluster.puts == 2  # with the one of the opening
    now += 1
    store.batch_operate(calls(3), 30)
    assert cluster.puts == 3


def test_an_error_in_a_rule_stays_an_error_and_nothing_is_registered(cluster: ScriptedCluster) -> None:
    store = open_store(URL)
    cluster.failing_rule = "one /udf/utxod.lua:7: attempt to index a nil value"
    (result,) = store.batch_operate(calls(1), 30)
    assert (result.status, result.in_doubt) == (Status.ERROR, False)
    assert "attempt to index" in result.message
    assert cluster.puts == 1


def some_writes(count: int) -> list[RecordOperation]:
    return [Write(key, {"a": 1}, Mode.UPSERT) for key in keys(count)]


def some_reads(count: int) -> list[RecordOperation]:
    return [Read(key) for key in keys(count)]


def some_other_reads(count: int) -> list[RecordOperation]:
    return [Read(key, ("a",) if key[0] % 2 else None) for key in keys(count)]


@pytest.mark.parametrize("make", [calls, some_writes, some_reads, some_other_reads])
def test_no_more_is_sent_at_once_than_every_node_takes(cluster: ScriptedCluster, make: Make) -> None:
    limit(cluster, 0, 40, 10)
    store = open_store(URL)
    store.batch_operate(some_writes(118), 30)
    cluster.sent.clear()
    operations = make(118)
    results = store.batch_operate(operations, 30)
    assert {result.status for result in results} == {Status.OK}
    assert [result.key for result in results] == [operation.key for operation in operations]
    assert cluster.sent == [10] * 11 + [8]


@pytest.mark.parametrize("make", [calls, some_writes, some_reads, some_other_reads])
def test_a_limit_that_is_lowered_refuses_one_batch_and_is_learnt(cluster: ScriptedCluster, make: Make) -> None:
    store = open_store(URL)
    store.batch_operate(some_writes(60), 30)
    limit(cluster, 0, 0, 5)
    first = store.batch_operate(make(60), 30)
    assert {(result.status, result.in_doubt) for result in first} == {(Status.OK, False), (Status.OVERLOADED, False)}
    assert {result.status for result in first if result.key and result.key[0] % 3 != 2} == {
        Status.OK
    }  # of the other nodes
    assert all("batch-max-requests" in result.message for result in first if result.status is Status.OVERLOADED)
    assert {result.status for result in store.batch_operate(make(60), 30)} == {Status.OK}


def test_operations_on_one_key_keep_their_order_across_parts(cluster: ScriptedCluster) -> None:
    limit(cluster, 2, 2, 2)
    store = open_store(URL)
    first, *others = keys(5)
    operations = [Write(key, {"a": turn}, Mode.UPSERT) for turn in range(3) for key in (first, *others)]
    cluster.log.clear()
    assert {result.status for result in store.batch_operate(operations, 30)} == {Status.OK}
    assert cluster.data["utxo", first] == {"a": 2}
    assert max(cluster.sent) <= 2
    assert [key for _, key in cluster.log].count(first) == 3


def test_a_store_that_refuses_everything_says_so_in_one_line(
    cluster: ScriptedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(URL)
    for node in cluster.nodes:
        node.refuses = 22
    for _ in range(50):
        assert {result.status for result in store.batch_operate(calls(3), 30)} == {Status.UNAVAILABLE}
    (line,) = lines(caplog)
    assert line.startswith("spend: failed for 3 ")
    assert "clocks differ" in line


def test_what_an_operation_expects_is_not_said(cluster: ScriptedCluster, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(URL)
    store.batch_operate([Read(KEY), Write(KEY, {"a": 1}, Mode.UPDATE)], 30)
    store.batch_operate([Write(KEY, {"a": 1}, Mode.CREATE)], 30)
    store.batch_operate([Write(KEY, {"a": 1}, Mode.CREATE)], 30)
    cluster.nodes[KEY[0] % 3].refuses = 13  # too big: it is moved to the blobs
    assert store.batch_operate([Write(KEY, {"a": 1}, Mode.UPDATE)], 30)[0].status is Status.TOO_BIG
    assert lines(caplog) == []


def test_failures_are_said_by_kind_and_code_with_how_many_there_were(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = FailureLog(lambda: now)
    for _ in range(100):
        log.failed("spend", 22, "forbidden", 3)
    log.failed("spend", 8, "full", 1)
    log.failed("write", 22, "forbidden", 1)
    assert [line.partition(" since")[0] for line in lines(caplog)] == [
        "spend: failed for 3",
        "spend: failed for 1",
        "write: failed for 1",
    ]
    now += QUIET_SECONDS
    log.failed("spend", 22, "forbidden", 1)
    assert lines(caplog)[-1] == "spend: failed for 298 since this was last said: forbidden"
