"""What the core's figures promise, one schedule each; tests/simulation counts a second time in random runs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.figures.histogram import ITEMS, TIMES_US, Histogram
from protocol import codes, wire
from protocol.codes import NO
from protocol.wire import Error
from protocol.worker_wire import pack_done
from tests.support.broker_by_hand import Broker, HeldDispatch, locking, owed, owing


def figures(broker: Broker) -> dict[str, Any]:
    found: dict[str, Any] = broker.core.report(broker.now)["figures"]
    return found


def answers(broker: Broker) -> dict[tuple[str, str], tuple[int, int]]:
    """Items and requests, by operation and code. They come to what was admitted."""
    counters = broker.core.report(broker.now)["counters"]
    found = {(row["operation"], row["code"]): (row["items"], row["requests"]) for row in figures(broker)["answers"]}
    pending = sum(entry.weight for entry in broker.core.ledger if entry.submitter is not None)
    assert sum(items for items, _ in found.values()) + pending == counters["admitted"]
    return found


def reasons(broker: Broker) -> dict[str, int]:
    return {row["reason"]: row["count"] for row in figures(broker)["dispatches"]}


def distribution(broker: Broker, name: str, operation: str = "get") -> tuple[int, float]:
    """How many values, and their sum."""
    [found] = [row for row in figures(broker)[name] if row["operation"] == operation]
    return sum(found["counts"]), found["sum"]


def fail(broker: Broker, dispatch: HeldDispatch, error: Error) -> None:
    """The worker answers each request with an error as a whole."""
    replies = [wire.error_header(error), wire.EMPTY_BODY] * len(dispatch.parts)
    broker.answer(dispatch.worker, [pack_done(dispatch.number, ()), *replies])


# ---- answers


def test_items_count_by_their_codes_and_a_request_that_was_executed_as_ok(broker: Broker) -> None:
    broker.ready(b"r1")
    broker.submit(items=["x", "y", "z"])
    broker.done(broker.handed[0], errors={1: Error(codes.SPENT, NO)})
    assert answers(broker) == {("get", "SPENT"): (1, 0), ("get", "OK"): (2, 1)}


def test_a_request_that_failed_as_a_whole_counts_by_its_code(broker: Broker) -> None:
    broker.ready(b"r1")
    broker.submit(items=["x", "y"])
    fail(broker, broker.handed[0], Error(codes.STORE_ERROR, NO))
    assert answers(broker) == {("get", "STORE_ERROR"): (2, 1)}


def test_a_late_answer_counts_as_late_and_not_as_an_answer(broker: Broker) -> None:
    broker.ready(b"r1")
    broker.submit(items=["x", "y"], timeout=1)
    broker.submit(submitter="b")
    broker.after(1.1)
    broker.done(broker.handed[0])
    broker.done(broker.handed[0])
    broker.done(broker.handed[1])
    assert answers(broker) == {("get", "DEADLINE_EXCEEDED"): (2, 1), ("get", "OK"): (1, 1)}
    assert figures(broker)["late_results"] == 3


def test_what_expires_in_the_queue_is_answered_by_the_broker(broker: Broker) -> None:
    broker.submit(timeout=1)
    broker.submit("increment", timeout=1)
    broker.after(1.1)
    assert answers(broker) == {("get", "DEADLINE_EXCEEDED"): (1, 1), ("increment", "DEADLINE_EXCEEDED"): (1, 1)}


def test_a_read_that_lost_its_worker_is_answered_once_whatever_its_parts_come_to(broker: Broker) -> None:
    broker.ready(b"r1")
    broker.submit(items=["x", "y"])
    broker.lose(b"r1")
    broker.ready(b"r2")
    assert answers(broker) == {}
    broker.done(broker.handed[1])
    fail(broker, broker.handed[2], Error(codes.STORE_ERROR, NO))
    assert answers(broker) == {("get", "STORE_ERROR"): (1, 0), ("get", "OK"): (1, 1)}
    assert reasons(broker) == {"all": 1, "again": 2}


def test_a_write_that_lost_its_worker_counts_as_crashed(broker: Broker) -> None:
    broker.ready(b"w1", "write")
    broker.submit("spend", ["x", "y"])
    broker.lose(b"w1")
    assert answers(broker) == {("spend", "WORKER_CRASHED"): (2, 1)}
    assert figures(broker)["lost_requests"] == 1


def test_an_answer_that_waits_for_follow_ups_counts_when_they_are_in(broker: Broker) -> None:
    locking(broker)
    assert answers(broker) == {}
    broker.ready(b"c1", "children")
    fail(broker, broker.handed[-1], Error(codes.STORE_ERROR, NO))
    assert answers(broker) == {("set_locked", "STORE_ERROR"): (1, 0), ("set_locked", "OK"): (1, 1)}


def test_owed_work_is_no_answer(broker: Broker) -> None:
    owing(broker, owed(b"key"))
    broker.ready(b"c1", "children")
    fail(broker, broker.handed[-1], Error(codes.STORE_ERROR, NO))
    assert answers(broker) == {("spend", "OK"): (1, 1)}
    assert figures(broker)["in_doubt"] == 1


def test_an_answer_that_can_not_be_read_counts_as_internal(broker: Broker) -> None:
    broker.ready(b"r1")
    broker.submit(items=["x", "y"])
    broker.answer(b"r1", [pack_done(broker.handed[0].number, ()), b"garbage", wire.EMPTY_BODY])
    assert answers(broker) == {("get", "INTERNAL"): (2, 1)}
    assert distribution(broker, "execution_seconds")[0] == 1
    assert distribution(broker, "store_seconds")[0] == 0


def test_what_is_left_at_the_end_is_answered_and_counted(broker: Broker) -> None:
    broker.submit(items=["x", "y"])
    broker.ready(b"w1", "write")
    broker.submit("spend")
    broker.end()
    assert answers(broker) == {("get", "SHUTTING_DOWN"): (2, 1), ("spend", "WORKER_CRASHED"): (1, 1)}


# ---- refusals


def test_a_refusal_counts_by_its_code_and_by_the_pool_that_was_meant() -> None:
    broker = Broker(queue_items=3)
    broker.submit(items=["x", "y"])
    broker.submit(items=["x", "y"])
    broker.submit("nonsense")
    broker.submit("spend", ["x", "y"], epoch=3)
    broker.send([b"\xc1", b""])
    broker.core.drain()
    broker.submit("spend", ["x", "y", "z"])
    rows = {(row["pool"], row["code"]): (row["items"], row["requests"]) for row in figures(broker)["refusals"]}
    assert rows == {
        ("read", "OVERLOADED"): (2, 1),
        ("", "UNSUPPORTED"): (1, 1),
        ("write", "STALE"): (2, 1),
        ("", "BAD_REQUEST"): (1, 1),
        ("write", "SHUTTING_DOWN"): (3, 1),
    }
    assert broker.core.report(broker.now)["counters"]["refused STALE"] == 2
    assert answers(broker) == {}


# ---- dispatches


def test_it_is_told_why_a_batch_is_no_larger() -> None:
    broker = Broker(batch_limit=3)
    for _ in range(4):
        broker.submit()
    broker.ready(b"r1")
    assert reasons(broker) == {"full": 1}
    broker.done(broker.handed[0])
    assert reasons(broker) == {"full": 1, "all": 1}
    broker.lose(b"r1")
    broker.ready(b"r2")
    assert reasons(broker) == {"full": 1, "all": 1, "again": 1}
    broker.done(broker.handed[2], timed_out=True)
    broker.after(1.1)
    broker.submit()
    assert reasons(broker) == {"full": 1, "all": 1, "again": 1, "probe": 1}
    assert distribution(broker, "batch_items") == (4, 6)
    assert broker.core.report(broker.now)["pools"]["read"]["breaker_trips"] == 1


def test_a_batch_that_ends_where_the_next_request_does_not_fit_is_full() -> None:
    broker = Broker(batch_limit=3)
    broker.submit(items=["x", "y"])
    broker.submit(items=["x", "y"], submitter="b")
    broker.ready(b"r1")
    assert reasons(broker) == {"full": 1}


def test_times_are_those_of_the_requests_in_the_queue_and_of_the_dispatch_until_its_end(broker: Broker) -> None:
    broker.submit()
    broker.after(0.3)
    broker.submit()
    broker.after(0.1)
    broker.ready(b"r1")
    assert distribution(broker, "queue_seconds") == (2, pytest.approx(0.5))
    broker.after(0.2)
    assert distribution(broker, "execution_seconds") == (0, 0)
    broker.done(broker.handed[0])
    assert distribution(broker, "execution_seconds") == (1, pytest.approx(0.2))


def test_what_follows_has_waited_since_it_followed_and_what_is_read_again_since_it_came(broker: Broker) -> None:
    broker.ready(b"w1", "write")
    broker.submit("spend")
    broker.after(1)
    broker.done(broker.handed[0], [owed(b"key")])
    broker.after(0.25)
    broker.ready(b"c1", "children")
    assert distribution(broker, "queue_seconds", "note_child") == (1, pytest.approx(0.25))
    broker.ready(b"r1")
    broker.submit(items=["x", "y"])
    broker.after(0.5)
    broker.lose(b"r1")
    broker.ready(b"r2")
    assert distribution(broker, "queue_seconds") == (2, pytest.approx(0.5))


def test_a_dispatch_that_is_lost_has_ended_too(broker: Broker) -> None:
    broker.ready(b"w1", "write")
    broker.submit("spend")
    broker.after(2)
    broker.lose(b"w1")
    assert distribution(broker, "execution_seconds", "spend") == (1, pytest.approx(2))


def test_a_worker_tells_of_the_store_of_double_results_and_of_lines_that_it_dropped(broker: Broker) -> None:
    def done(store_us: int, ignored: int, dropped: int) -> None:
        broker.submit()
        held = broker.handed[-1]
        head = pack_done(held.number, (), store_us=store_us, ignored=ignored, dropped=dropped)
        broker.answer(held.worker, [head, wire.ok_header(1), wire.pack_body(["x"])])

    broker.ready(b"r1")
    done(1500, 2, 10)
    done(500, 0, 12)
    broker.lose(b"r1")
    broker.ready(b"r2")
    done(0, 1, 5)
    assert distribution(broker, "store_seconds") == (3, pytest.approx(0.002))
    assert figures(broker)["double_results"] == 3
    assert broker.core.report(broker.now)["log_lines_dropped"] == {"workers": 17}


# ---- what is now


def test_the_age_of_the_oldest_that_waits_and_of_the_longest_dispatch(broker: Broker) -> None:
    def ages() -> tuple[float, float]:
        pool = broker.core.report(broker.now)["pools"]["read"]
        return pool["oldest_seconds"], pool["longest_seconds"]

    assert ages() == (0, 0)
    broker.ready(b"r1")
    broker.submit(submitter="a")
    broker.after(0.5)
    for submitter in "bcab":
        broker.submit(submitter=submitter)
    broker.submit("outpoint", submitter="d")
    broker.after(0.25)
    assert ages() == (0.25, 0.75)
    broker.done(broker.handed[0])
    broker.done(broker.handed[1])
    assert ages() == (0, 0)
    broker.after(0.1)
    assert ages() == (0, 0.1)


def test_a_worker_is_ready_or_busy_since(broker: Broker) -> None:
    core = broker.core
    assert core.state_of(b"r1") is None
    broker.ready(b"r1")
    assert core.state_of(b"r1") == ("ready", broker.now)
    broker.after(1)
    broker.submit()
    assert core.state_of(b"r1") == ("busy", broker.now)
    broker.after(1)
    broker.done(broker.handed[0])
    assert core.state_of(b"r1") == ("ready", broker.now)


# ---- request ids


def test_a_worker_is_told_the_ids_of_the_requests_that_it_works_for(broker: Broker) -> None:
    request = broker.submit("spend").to_bytes(16, "little")
    other = broker.submit("spend", submitter="b").to_bytes(16, "little")
    broker.ready(b"w1", "write")
    assert broker.handed[-1].request_ids == request + other
    broker.done(broker.handed[-1], [owed(b"key")])
    broker.ready(b"c1", "children")
    assert broker.handed[-1].request_ids == bytes(16)


def test_a_part_has_the_id_of_its_request(broker: Broker) -> None:
    locking = broker.submit("set_locked", ["m", "n"]).to_bytes(16, "little")
    reading = broker.submit("get", ["x", "y"]).to_bytes(16, "little")
    broker.ready(b"r1")
    broker.lose(b"r1")
    broker.ready(b"r2")
    assert broker.handed[-1].request_ids == reading
    broker.ready(b"w1", "write")
    part = owed(b"key")._replace(request_index=0, operation="lock_children")
    broker.done(broker.handed[-1], [part])
    broker.ready(b"c1", "children")
    assert broker.handed[-1].request_ids == locking


# ---- histograms


@given(st.lists(st.lists(st.integers(0, 10**9), min_size=1)))
def test_many_values_at_once_count_as_each_of_them(batches: list[list[int]]) -> None:
    at_once, each = Histogram(TIMES_US), Histogram(TIMES_US)
    for batch in batches:
        for value in batch:
            each.add(value)
        at_once.add_all(batch)
    assert at_once.as_map() == each.as_map()


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (1, 0), (2, 1), (3, 2), (100_000, 15), (100_001, 16)])
def test_a_bound_belongs_to_its_bucket(value: int, bucket: int) -> None:
    histogram = Histogram(ITEMS)
    histogram.add(value)
    assert histogram.counts.index(1) == bucket


def test_what_a_histogram_is_given_stays_as_it_was() -> None:
    waits = [300, 100, 200]
    Histogram(TIMES_US).add_all(waits)
    assert waits == [300, 100, 200]
