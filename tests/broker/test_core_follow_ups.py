"""Work that follows from work: joined into the answer that waits for it, or owed."""

import pytest

from broker.actions import InDoubt
from protocol import wire
from protocol.wire import Error
from protocol.worker_wire import FollowUp
from tests.support.broker_by_hand import Broker, locking, owed, owing


def test_the_answer_waits_for_its_parts_and_no_worker_does(broker: Broker) -> None:
    request = locking(broker)
    assert request not in broker.answers
    other = broker.submit("spend")
    broker.done(broker.handed[-1])
    assert broker.fate(other) == ("OK", "")
    broker.ready(b"c1", "children")
    broker.done(broker.handed[-1])
    assert broker.results(request) == ["m", "n"]
    assert broker.answers[request].errors == {}
    assert broker.nothing_is_left()


def test_a_parts_no_is_never_the_wholes(broker: Broker) -> None:
    request = locking(broker)
    broker.ready(b"c1", "children")
    broker.done(broker.handed[-1], errors={0: Error("TX_NOT_FOUND", "no", "child record 3")})
    (error,) = broker.answers[request].errors.values()
    assert list(broker.answers[request].errors) == [1]
    assert (error.code, error.executed) == ("TX_NOT_FOUND", "unknown")


def test_a_part_that_loses_its_worker_fails_its_item(broker: Broker) -> None:
    request = locking(broker)
    broker.ready(b"c1", "children")
    broker.lose(b"c1")
    assert broker.answers[request].errors[1].code == "WORKER_CRASHED"
    assert broker.nothing_is_left()


def test_a_part_is_dropped_when_its_answer_went_out_without_it(broker: Broker) -> None:
    request = locking(broker, timeout=1)
    broker.after(1.1)
    assert broker.fate(request) == ("DEADLINE_EXCEEDED", "unknown")
    broker.ready(b"c1", "children")
    assert len(broker.handed) == 1
    assert broker.nothing_is_left()


def test_owed_work_never_expires_and_is_never_refused() -> None:
    broker = Broker(queue_items=1, workerless_seconds=1.0)
    owing(broker, *[owed(bytes([number])) for number in range(50)])
    broker.after(3600)
    broker.ready(b"c1", "children")
    assert sum(len(handed.parts) for handed in broker.handed[1:]) == 50
    broker.done(broker.handed[-1])
    assert broker.nothing_is_left()


def test_owed_work_that_fails_or_is_lost_leaves_its_master_in_doubt(broker: Broker) -> None:
    owing(broker, owed(b"m"), owed(b"n"))
    broker.ready(b"c1", "children")
    broker.done(broker.handed[-1], errors={0: Error("STORE_ERROR", "unknown")})
    assert [doubt.key for doubt in broker.in_doubt] == [b"m", b"n"]
    broker.in_doubt.clear()
    owing(broker, owed(b"m"))
    broker.lose(b"c1")
    assert broker.in_doubt == [InDoubt(b"m", "note_child", broker.in_doubt[0].reason)]
    assert broker.nothing_is_left()


@pytest.mark.parametrize("operation", ["create", "spend", "unspend", "set_locked"])
def test_a_lost_worker_leaves_a_note_of_what_it_may_have_owed(broker: Broker, operation: str) -> None:
    """Also of requests that were answered meanwhile: the store may have applied them, and their follow-ups are lost."""
    broker.ready(b"w1", "write")
    request = broker.submit(operation, ["coins"], timeout=1)
    broker.after(1.1)
    assert broker.fate(request) == ("DEADLINE_EXCEEDED", "unknown")
    broker.lose(b"w1")
    assert [(lost.operation, wire.unpack_body(lost.body, 1)) for lost in broker.lost] == [(operation, ["coins"])]
    broker.ready(b"r1", "read")
    broker.submit("get")
    broker.lose(b"r1")
    assert len(broker.lost) == 1


def test_new_parents_are_held_back_while_too_much_is_owed() -> None:
    broker = Broker(owed_items=2)
    owing(broker, owed(b"m"), owed(b"n"))
    held = broker.submit("spend")
    assert len(broker.handed) == 1
    broker.ready(b"c1", "children")
    broker.done(broker.handed[-1])
    assert broker.handed[-1].operation == "spend"
    broker.done(broker.handed[-1])
    assert broker.fate(held) == ("OK", "")


@pytest.mark.parametrize(
    "follow_up",
    [
        FollowUp(0, 0, "get", b"k", 1, b""),
        FollowUp(0, 0, "spend", b"k", 1, b""),
        FollowUp(7, 0, "note_child", b"k", 1, b""),
    ],
    ids=["to a pool of the same rank", "to its own pool", "of a request that is not there"],
)
def test_work_follows_to_a_pool_of_a_higher_rank_only(broker: Broker, follow_up: FollowUp) -> None:
    broker.ready(b"w1", "write")
    request = broker.submit("spend")
    broker.done(broker.handed[-1], [follow_up])
    assert broker.fate(request) == ("INTERNAL", "unknown")
    assert broker.terminated == [b"w1"]
