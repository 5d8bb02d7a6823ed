"""The promises that the broker's core keeps, one schedule each; tests/simulation tries the others."""

import gc
from typing import Any

import pytest

from broker.actions import Terminate
from broker.decoding import from_submitter, from_worker
from broker.events import ReplyUndelivered, WorkerReady
from protocol import codes, wire
from protocol.wire import Error, RequestHeader
from protocol.worker_wire import READY, pack_done
from tests.support.broker_by_hand import EPOCH, SECOND, Broker, locking, owed, owing

# ---- admission


def test_the_handshake_tells_epoch_clock_and_limits(broker: Broker) -> None:
    welcome = broker.bodies[broker.send([], kind=wire.HELLO)]
    assert (welcome["epoch"], welcome["clock"]) == (EPOCH, broker.now)
    assert welcome["limits"]["max_items"] == 10_000


def header(broker: Broker, **changes: Any) -> bytes:
    fields = {"epoch": EPOCH, "operation": "get", "deadline": broker.now + SECOND, "count": 1, "flags": 0}
    return wire.pack_request_header(RequestHeader(**{**fields, **changes}))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"epoch": EPOCH + 1}, "STALE"),
        ({"deadline": 1}, "STALE"),
        ({"deadline": 1 << 62}, "BAD_REQUEST"),
        ({"operation": "nonsense"}, "UNSUPPORTED"),
        ({"operation": "lock_children"}, "UNSUPPORTED"),
        ({"count": 0}, "BAD_REQUEST"),
        ({"count": 10_001}, "TOO_LARGE"),
        ({"flags": 1}, "BAD_REQUEST"),
        ({"operation": "spend", "flags": 2}, "BAD_REQUEST"),
    ],
)
def test_what_this_daemon_can_not_execute_is_refused_at_once(
    broker: Broker, changes: dict[str, Any], code: str
) -> None:
    request = broker.send([header(broker, **changes), wire.pack_body(["x"])])
    assert broker.fate(request) == (code, "no")
    assert broker.nothing_is_left()


@pytest.mark.parametrize("frames", [[], [b""], [b"\xc1", b""], [b"x" * 200, b""], [b"\x90", b"", b""]])
def test_frames_that_are_no_request_are_answered_where_the_id_can_be_read(broker: Broker, frames: list[bytes]) -> None:
    assert broker.fate(broker.send(frames)) == ("BAD_REQUEST", "no")


def test_a_frame_without_a_prefix_is_dropped_and_counted(broker: Broker) -> None:
    for frames in ([b"nonsense"], []):
        broker.core.handle(from_submitter("a", frames), broker.now)
    assert broker.core.actions == []
    assert broker.core.counters["unreadable"] == 2


def test_a_body_over_the_limit_is_too_large() -> None:
    broker = Broker(max_body_bytes=10)
    assert broker.fate(broker.submit(items=["x" * 20])) == ("TOO_LARGE", "no")


# ---- exactly one answer


def test_a_request_is_answered_once_and_leaves_nothing(broker: Broker) -> None:
    broker.ready(b"r1")
    request = broker.submit(items=["x", "y"])
    broker.done(broker.handed[0])
    assert broker.results(request) == ["x", "y"]
    broker.after(10)
    assert broker.nothing_is_left()


def test_a_second_answer_is_dropped_and_counted(broker: Broker) -> None:
    broker.ready(b"r1")
    broker.submit()
    broker.done(broker.handed[0])
    broker.done(broker.handed[0])
    assert broker.core.counters["late"] == 1


def test_a_late_answer_is_dropped_and_counted_and_its_worker_goes_on(broker: Broker) -> None:
    broker.ready(b"r1")
    late = broker.submit(timeout=1)
    broker.after(1.1)
    assert broker.fate(late) == ("DEADLINE_EXCEEDED", "unknown")
    broker.done(broker.handed[0])
    assert broker.core.counters["late"] == 1
    following = broker.submit()
    broker.done(broker.handed[1])
    assert broker.fate(following) == ("OK", "")


def test_what_expires_in_the_queue_was_not_executed_and_never_is(broker: Broker) -> None:
    request = broker.submit(timeout=1)
    broker.after(1.0)
    assert broker.fate(request) == ("DEADLINE_EXCEEDED", "no")
    broker.ready(b"r1")
    assert broker.handed == []


def test_an_expired_request_is_not_handed_out_even_before_the_sweep_saw_it(broker: Broker) -> None:
    request = broker.submit(timeout=1)
    broker.now += 1 * SECOND
    broker.ready(b"r1")
    assert broker.handed == []
    assert broker.fate(request) == ("DEADLINE_EXCEEDED", "no")


@pytest.mark.parametrize("timeout", [0.000_001, 0.049, 0.05, 0.051, 3.3])
def test_a_deadline_is_answered_by_the_next_sweep(broker: Broker, timeout: float) -> None:
    request = broker.submit(timeout=timeout)
    broker.after(timeout - 0.000_001)
    assert request not in broker.answers
    broker.after(0.000_001)
    assert request in broker.answers


# ---- workers that die, wedge, answer nonsense


def test_a_crash_answers_the_writes_in_hand_at_once_and_no_others(broker: Broker) -> None:
    broker.ready(b"w1", "write")
    in_hand = broker.submit("spend")
    queued = broker.submit("spend")
    broker.lose(b"w1")
    assert broker.fate(in_hand) == ("WORKER_CRASHED", "unknown")
    assert queued not in broker.answers
    broker.ready(b"w2", "write")
    broker.done(broker.handed[1])
    assert broker.fate(queued) == ("OK", "")


def test_one_poisonous_read_among_a_hundred_takes_no_neighbour_with_it(broker: Broker) -> None:
    items = [f"item {number}" for number in range(100)]
    broker.ready(b"r0")
    request = broker.submit(items=items)
    broker.lose(b"r0")
    for number in range(1, 200):
        broker.ready(f"r{number}".encode())
        while broker.handed[-1].worker == f"r{number}".encode() and request not in broker.answers:
            handed = broker.handed[-1]
            assert [part.only for part in handed.parts] != [None]
            if handed.parts[0].only == 37:
                broker.lose(handed.worker)
                break
            broker.done(handed)
        if request in broker.answers:
            break
    errors = broker.answers[request].errors
    assert {index: (error.code, error.executed) for index, error in errors.items()} == {
        37: ("WORKER_CRASHED", "unknown")
    }
    assert broker.results(request) == [item if item != "item 37" else None for item in items]
    assert broker.nothing_is_left()


def test_a_single_read_is_dispatched_again_once(broker: Broker) -> None:
    request = broker.submit()
    for worker in (b"r1", b"r2"):
        broker.ready(worker)
        broker.lose(worker)
    assert broker.fate(request) == ("WORKER_CRASHED", "unknown")
    assert len(broker.handed) == 2


@pytest.mark.parametrize("frames", [[], [b"\xc1"], [pack_done(1, [])], ["head", b"h", b"b", b"h"]])
def test_a_malformed_answer_is_a_fault_of_its_worker(broker: Broker, frames: list[Any]) -> None:
    broker.ready(b"w1", "write")
    request = broker.submit("spend")
    head = pack_done(broker.handed[0].number, [])
    broker.answer(b"w1", [head if frame == "head" else frame for frame in frames])
    assert broker.fate(request) == ("INTERNAL", "unknown")
    assert broker.terminated == [b"w1"]
    assert broker.nothing_is_left()


def test_a_wedged_worker_is_terminated_at_the_execution_limit() -> None:
    broker = Broker(budget_seconds=2.0, grace_seconds=1.0)
    broker.ready(b"w1", "write")
    request = broker.submit("spend", timeout=60)
    broker.after(2.9)
    assert broker.terminated == []
    broker.after(0.2)
    assert broker.terminated == [b"w1"]
    broker.lose(b"w1")
    assert broker.fate(request) == ("WORKER_CRASHED", "unknown")


def test_the_breaker_lets_one_probe_through_at_a_time_until_one_succeeds() -> None:
    broker = Broker(budget_seconds=2.0, grace_seconds=1.0, probe_seconds=1.0)
    broker.ready(b"w1", "write")
    broker.ready(b"r1", "read")
    broker.submit("spend", timeout=60)
    queued = broker.submit("spend", timeout=60)
    broker.after(3.1)
    assert broker.fate(queued) == ("UNAVAILABLE", "no")
    broker.lose(b"w1")
    broker.ready(b"w2", "write")
    broker.ready(b"w3", "write")
    refused = broker.submit("spend")
    assert broker.fate(refused) == ("UNAVAILABLE", "no")
    assert broker.answers[refused].error is not None
    assert broker.answers[refused].error.retry_after > 0
    read = broker.submit("get")
    broker.done(broker.handed[-1])
    assert broker.fate(read) == ("OK", "")
    broker.after(1.1)
    probe = broker.submit("spend")
    assert broker.fate(broker.submit("spend")) == ("UNAVAILABLE", "no")
    broker.done(broker.handed[-1])
    assert broker.fate(probe) == ("OK", "")
    broker.submit("spend")
    broker.submit("spend")
    assert [handed.worker for handed in broker.handed[-2:]] == [b"w3", b"w2"]


def test_a_store_that_gives_no_answer_in_time_opens_the_breaker_until_a_probe_is_answered() -> None:
    broker = Broker(probe_seconds=1.0)
    broker.ready(b"w1", "write")
    held = broker.submit("spend", timeout=60)
    queued = broker.submit("spend", timeout=60)
    error = Error(codes.STORE_ERROR, "unknown", "no answer")
    broker.done(broker.handed[-1], errors={0: error}, timed_out=True)
    assert broker.answers[held].errors[0].executed == "unknown"
    assert broker.fate(queued) == ("UNAVAILABLE", "no")
    assert broker.terminated == []
    broker.after(1.1)
    probe = broker.submit("spend", timeout=60)
    assert broker.fate(broker.submit("spend")) == ("UNAVAILABLE", "no")
    broker.done(broker.handed[-1], errors={0: error}, timed_out=True)
    assert broker.answers[probe].errors[0].executed == "unknown"
    assert broker.fate(broker.submit("spend")) == ("UNAVAILABLE", "no")
    broker.after(1.1)
    broker.submit("spend", timeout=60)
    broker.done(broker.handed[-1])
    served = broker.submit("spend")
    broker.done(broker.handed[-1])
    assert broker.fate(served) == ("OK", "")


def test_a_batch_that_began_before_the_breaker_turned_says_nothing_of_the_store_as_it_is() -> None:
    broker = Broker(probe_seconds=1.0)
    for worker in (b"w1", b"w2", b"w3"):
        broker.ready(worker, "write")
    error = Error(codes.STORE_ERROR, "unknown", "no answer")
    for _ in range(3):
        broker.submit("spend", timeout=60)
    first, second, third = broker.handed
    broker.after(0.5)
    broker.done(first, errors={0: error}, timed_out=True)
    broker.after(0.9)
    broker.done(second, errors={0: error}, timed_out=True)
    broker.after(0.2)
    probe = broker.submit("spend", timeout=60)  # which the second has not put off
    broker.done(broker.handed[-1])
    assert broker.fate(probe) == ("OK", "")
    waiting = broker.submit("spend", timeout=60)
    broker.done(third, errors={0: error}, timed_out=True)
    broker.done(broker.handed[-1])
    assert broker.fate(waiting) == ("OK", "")


def test_a_pool_without_a_worker_for_too_long_answers_unavailable() -> None:
    broker = Broker(workerless_seconds=2.0)
    request = broker.submit(timeout=60)
    broker.after(1.9)
    assert request not in broker.answers
    broker.after(0.2)
    assert broker.fate(request) == ("UNAVAILABLE", "no")
    assert broker.fate(broker.submit()) == ("UNAVAILABLE", "no")


# ---- batches, and turns


def test_a_batch_grows_with_what_is_queued_up_to_the_limit() -> None:
    broker = Broker(batch_limit=10)
    for items in (["a"] * 4, ["b"] * 4, ["c"] * 4, ["d"] * 25, ["e"]):
        broker.submit(items=items)
    for number in range(4):
        broker.ready(f"r{number}".encode())
    assert [[part.item_count for part in handed.parts] for handed in broker.handed] == [[4, 4], [4], [25], [1]]


def test_each_pool_tells_how_many_items_its_dispatches_had(broker: Broker) -> None:
    """Of a store with one commit for a dispatch, so many items share an fsync."""
    for items in (["a"], ["b", "c"]):
        broker.submit("spend", items)
    broker.submit("get")
    broker.ready(b"w", "write")
    pools = broker.core.report()["pools"]
    assert [(pools[name]["dispatches"], pools[name]["dispatched"]) for name in ("write", "read")] == [(1, 3), (0, 0)]


def test_a_dispatch_is_of_one_operation_and_operations_take_turns(broker: Broker) -> None:
    for operation in ("get", "outpoint", "get", "outpoint"):
        broker.submit(operation)
    for number in range(3):
        broker.ready(f"r{number}".encode())
    assert [(handed.operation, len(handed.parts)) for handed in broker.handed] == [("get", 2), ("outpoint", 2)]


def test_one_that_floods_delays_another_by_a_turn_and_leaves_it_room() -> None:
    broker = Broker(queue_items=100, batch_limit=2)
    flood = [broker.submit(submitter="flood") for _ in range(200)]
    refused = [request for request in flood if request in broker.answers]
    assert {broker.fate(request) for request in refused} == {("OVERLOADED", "no")}
    assert broker.answers[refused[0]].error.retry_after > 0
    assert len(flood) - len(refused) == 50
    asker = broker.submit(submitter="asker")
    broker.ready(b"r1")
    broker.done(broker.handed[0])
    assert broker.fate(asker) == ("OK", "")


def test_the_backlog_is_bounded_in_bytes() -> None:
    broker = Broker(queue_bytes=100)
    broker.submit(items=["x" * 60], submitter="a")
    assert broker.fate(broker.submit(items=["x" * 60], submitter="b")) == ("OVERLOADED", "no")


# ---- scaling, draining


def test_a_worker_that_retires_finishes_what_it_holds(broker: Broker) -> None:
    broker.ready(b"r1")
    request = broker.submit()
    broker.core.retire(b"r1")
    broker.turn()
    assert broker.stopped == []
    broker.done(broker.handed[0])
    assert broker.fate(request) == ("OK", "")
    assert broker.stopped == [b"r1"]
    broker.submit()
    assert len(broker.handed) == 1


def test_draining_accepts_nothing_and_answers_everything(broker: Broker) -> None:
    broker.ready(b"w1", "write")
    in_hand, queued = broker.submit("spend"), broker.submit("spend")
    broker.core.drain()
    assert broker.fate(broker.submit("spend")) == ("SHUTTING_DOWN", "no")
    broker.end()
    assert broker.fate(in_hand)[1] == "unknown"
    assert broker.fate(queued) == ("SHUTTING_DOWN", "no")
    assert broker.nothing_is_left()


def test_while_it_drains_what_is_pending_is_finished(broker: Broker) -> None:
    broker.ready(b"w1", "write")
    requests = [broker.submit("spend"), broker.submit("spend")]
    broker.core.drain()
    assert broker.core.draining
    for number in range(2):
        assert broker.core.pending == 2 - number
        broker.done(broker.handed[number])
    assert broker.core.pending == 0
    assert [broker.fate(request) for request in requests] == [("OK", "")] * 2


def test_owed_work_is_pending_until_it_is_done(broker: Broker) -> None:
    owing(broker, owed(b"m"))
    assert broker.core.pending == 1
    broker.ready(b"c1", "children")
    broker.done(broker.handed[-1])
    assert broker.core.pending == 0


def test_a_worker_is_ready_from_its_first_credit_until_it_is_lost_and_busy_while_it_holds_a_dispatch(
    broker: Broker,
) -> None:
    core = broker.core

    def known() -> tuple[bool, bool, set[bytes]]:
        return core.is_ready(b"r1"), core.is_busy(b"r1"), set(core.ready_workers)

    assert known() == (False, False, set())
    broker.ready(b"r1")
    assert known() == (True, False, {b"r1"})
    broker.submit()
    assert known() == (True, True, {b"r1"})
    core.terminate(b"r1", "is stopped")
    assert known() == (True, True, {b"r1"})
    broker.done(broker.handed[0])
    assert known() == (True, False, {b"r1"})
    broker.lose(b"r1")
    assert known() == (False, False, set())


def test_an_action_is_taken_once(broker: Broker) -> None:
    broker.core.handle(WorkerReady(b"r1", "read"), broker.now)
    broker.core.terminate(b"r1", "is stopped")
    broker.core.terminate(b"r1", "is stopped")
    assert broker.core.take_actions() == [Terminate(b"r1", "is stopped")]
    assert broker.core.take_actions() == []


def test_a_worker_that_talks_nonsense_while_it_holds_work_will_not_answer_it(broker: Broker) -> None:
    """Whatever the message was meant to be; one that holds nothing harms nobody."""
    broker.ready(b"w1", "write")
    for frames in ([b"nonsense"], [READY, b"\xc1"], [b""]):
        broker.core.handle(from_worker(b"w1", frames), broker.now)
        broker.core.handle(from_worker(b"nobody", frames), broker.now)
    broker.turn()
    assert broker.terminated == []
    request = broker.submit("spend")
    broker.core.handle(from_worker(b"w1", [b"nonsense"]), broker.now)
    broker.turn()
    assert broker.fate(request) == ("INTERNAL", "unknown")
    assert broker.terminated == [b"w1"]
    assert broker.core.counters["malformed"] == 7
    assert broker.nothing_is_left()


def test_what_could_not_be_delivered_is_counted_by_item(broker: Broker) -> None:
    broker.core.handle(ReplyUndelivered(3), broker.now)
    broker.core.handle(ReplyUndelivered(0), broker.now)
    assert broker.core.counters["undeliverable"] == 4


def test_what_workers_answered_is_counted_by_code(broker: Broker) -> None:
    """So that a store that refuses everything is seen, and not only in the log."""
    broker.ready(b"w1", "write")
    broker.submit("spend", ["a", "b", "c"])
    broker.done(broker.handed[-1], errors={0: Error("SPENT", "no"), 2: Error("STORE_ERROR", "no")})
    broker.submit("spend", ["d"])
    broker.done(broker.handed[-1])
    broker.submit("spend", ["e", "f"])
    refused = wire.error_header(Error("UNAVAILABLE", "no"))
    broker.answer(b"w1", [pack_done(broker.handed[-1].number, []), refused, wire.EMPTY_BODY])
    counted = {name: number for name, number in broker.core.counters.items() if name.startswith("answered ")}
    assert counted == {"answered SPENT": 1, "answered STORE_ERROR": 1, "answered UNAVAILABLE": 2}


def test_what_is_owed_at_the_end_is_in_doubt(broker: Broker) -> None:
    owing(broker, owed(b"m"), owed(b"m"), owed(b"n"))
    broker.end()
    assert sorted(doubt.key for doubt in broker.in_doubt) == [b"m", b"m", b"n"]
    assert broker.nothing_is_left()


def test_the_core_makes_no_garbage_that_only_the_collector_could_free(broker: Broker) -> None:
    gc.collect()
    gc.disable()
    try:
        locking(broker)
        broker.ready(b"c1", "children")
        broker.done(broker.handed[-1])
        broker.ready(b"r1")
        broker.submit(items=["x"] * 5)
        broker.lose(b"r1")
        broker.after(10)
        broker.handed.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()
