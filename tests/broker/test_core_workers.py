"""What the broker's core makes of workers that die, wedge or answer nonsense, and of a store behind them that does not
answer; one schedule each."""

from typing import Any

import pytest

from broker.decoding import from_worker
from protocol import codes
from protocol.wire import Error
from protocol.worker_wire import READY, pack_done
from tests.support.broker_by_hand import Broker


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
    core.terminate(b"r1", "stopped", "is stopped")
    assert known() == (True, True, {b"r1"})
    broker.done(broker.handed[0])
    assert known() == (True, False, {b"r1"})
    broker.lose(b"r1")
    assert known() == (False, False, set())
