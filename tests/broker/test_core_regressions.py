"""What the simulator found, each by hand."""

import sys
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from protocol import wire
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from protocol.worker_wire import FollowUp, pack_done
from tests.support.broker_by_hand import EPOCH, SECOND, Broker, HeldDispatch, reply

MASTER = b"master"
BODY = wire.pack_body([1])


def malformed(broker: Broker, follow_up: Any) -> None:
    """A worker's answer to a dispatch of two requests, with a follow-up that is none."""
    handed = broker.handed[-1]
    frames = [msgpack.packb((handed.number, [follow_up]))]
    for part, body in zip(handed.parts, handed.bodies, strict=True):
        frames += reply(part, body, {})
    broker.answer(handed.worker, frames)


@pytest.mark.parametrize(
    "follow_up",
    [
        (-1, 0, "lock_children", MASTER, 1, BODY),
        (2, 0, "lock_children", MASTER, 1, BODY),
        ("0", 0, "lock_children", MASTER, 1, BODY),
        (0, 1, "lock_children", MASTER, 1, BODY),
        (0, -1, "lock_children", MASTER, 1, BODY),
        (0, None, "lock_children", MASTER, 1, BODY),
        (0, 0, "lock_children", [], 1, BODY),
        (None, 0, "increment", None, 1, BODY),
        (None, 0, "increment", 7, 1, BODY),
        (None, 0, "increment", MASTER, 0, BODY),
        (None, 0, "increment", MASTER, "1", BODY),
        (None, 0, "increment", MASTER, 1, 5),
        (None, 0, ["increment"], MASTER, 1, BODY),
        None,
    ],
)
def test_a_follow_up_that_is_none_is_a_fault_of_its_worker_and_touches_nobody_else(
    broker: Broker, follow_up: Any
) -> None:
    requests = [broker.submit("set_locked"), broker.submit("set_locked", submitter="b")]
    broker.ready(b"w", "write")
    malformed(broker, follow_up)
    assert [broker.fate(request) for request in requests] == [("INTERNAL", UNKNOWN)] * 2
    assert broker.terminated == [b"w"]
    assert broker.nothing_is_left()


def test_work_follows_only_from_a_pool_that_has_follow_ups(broker: Broker) -> None:
    request = broker.submit("get")
    broker.ready(b"r")
    malformed(broker, (0, 0, "lock_children", MASTER, 1, BODY))
    assert broker.fate(request) == ("INTERNAL", UNKNOWN)


@pytest.mark.parametrize("header", [b"garbage", wire.ok_header(7)])
def test_a_header_that_waits_for_parts_is_read_before_anything_waits(broker: Broker, header: bytes) -> None:
    request = broker.submit("set_locked")
    broker.ready(b"w", "write")
    [handed] = broker.handed
    follow_up = FollowUp(0, 0, "lock_children", MASTER, 1, BODY)
    broker.answer(b"w", [pack_done(handed.number, [follow_up]), header, BODY])
    assert broker.fate(request) == ("INTERNAL", UNKNOWN)
    assert broker.nothing_is_left()


def test_a_result_that_is_none_shifts_none_of_the_reads_beside_it(broker: Broker) -> None:
    request = broker.submit("get", ["a", "b", "c"])
    broker.ready(b"r1")
    broker.lose(b"r1")
    broker.ready(b"r2")
    for bodies in (None, wire.pack_body([1, 2, 3]), None):
        handed = broker.handed[-1]
        header, body = reply(handed.parts[0], handed.bodies[0], {})
        broker.answer(b"r2", [pack_done(handed.number, []), header, bodies or body])
    assert broker.results(request) == ["a", None, "c"]
    assert {index: error.code for index, error in broker.answers[request].errors.items()} == {1: "INTERNAL"}


def whole(error: Error) -> Callable[[HeldDispatch], list[bytes]]:
    return lambda handed: [wire.error_header(error, handed.parts[0].item_count), wire.EMPTY_BODY]


def single(error: Error) -> Callable[[HeldDispatch], list[bytes]]:
    return lambda handed: reply(handed.parts[0], handed.bodies[0], {0: error})


@pytest.mark.parametrize("items", [["a"], ["a", "b"]])
@pytest.mark.parametrize("answer", [whole, single])
@pytest.mark.parametrize(("code", "executed"), [("STORE_ERROR", UNKNOWN), ("TX_NOT_FOUND", NO)])
def test_a_second_workers_no_does_not_speak_for_the_first(
    broker: Broker, items: list[str], answer: Any, code: str, executed: str
) -> None:
    request = broker.submit("get", items)
    broker.ready(b"r1")
    broker.lose(b"r1")
    broker.ready(b"r2")
    for _ in items:
        handed = broker.handed[-1]
        broker.answer(b"r2", [pack_done(handed.number, []), *answer(Error(code, NO))(handed)])
    found = broker.answers[request]
    errors = [found.error] if found.error else list(found.errors.values())
    assert {(error.code, error.executed) for error in errors if error} == {(code, executed)}


def test_a_second_answer_that_can_not_be_read_is_a_fault(broker: Broker) -> None:
    request = broker.submit("get")
    broker.ready(b"r1")
    broker.lose(b"r1")
    broker.ready(b"r2")
    broker.answer(b"r2", [pack_done(broker.handed[-1].number, []), b"garbage", BODY])
    assert broker.fate(request) == ("INTERNAL", UNKNOWN)


def test_what_is_owed_after_the_end_is_in_doubt_and_not_forgotten(broker: Broker) -> None:
    broker.submit("spend")
    broker.ready(b"w", "write")
    broker.end()
    broker.done(broker.handed[0], [FollowUp(None, 0, "note_child", MASTER, 1, BODY)])
    assert [doubt.key for doubt in broker.in_doubt] == [MASTER]
    assert broker.nothing_is_left()


def test_what_a_refused_header_claims_can_not_make_the_counters_unreadable(broker: Broker) -> None:
    for _ in range(3):
        header = wire.RequestHeader(EPOCH, "get", broker.now + SECOND, (1 << 64) - 1, 0)
        request = broker.send([wire.pack_request_header(header), BODY])
        assert broker.fate(request) == ("TOO_LARGE", NO)
    assert (
        wire.unpack_report(wire.pack_report(broker.core.report(broker.now)))["counters"]["refused TOO_LARGE"] == 30_000
    )


@pytest.mark.parametrize("expired", [False, True])
def test_a_spend_whose_result_is_not_known_may_have_lost_its_follow_up(broker: Broker, expired: bool) -> None:
    broker.submit("spend", ["a", "b"])
    broker.ready(b"w", "write")
    if expired:
        broker.after(6)
    broker.done(broker.handed[0], errors={1: Error("INTERNAL", UNKNOWN)})
    assert [(lost.operation, wire.unpack_body(bytes(lost.body), 2)) for lost in broker.lost] == [("spend", ["a", "b"])]


def test_a_spend_that_was_refused_has_lost_nothing(broker: Broker) -> None:
    broker.submit("spend", ["a", "b"])
    broker.ready(b"w", "write")
    broker.done(broker.handed[0], errors={1: Error("SPENT", NO, "by one unknown")})
    assert not broker.lost


def test_a_spend_whose_header_can_not_be_read_may_have_owed(broker: Broker) -> None:
    broker.submit("spend")
    broker.ready(b"w", "write")
    broker.answer(b"w", [pack_done(broker.handed[0].number, []), b"garbage", BODY])
    assert [lost.operation for lost in broker.lost] == ["spend"]


def test_what_is_answered_leaves_no_room_taken_until_its_deadline(broker: Broker) -> None:
    broker.ready(b"r")
    requests = [broker.submit(timeout=3_000) for _ in range(2_000)]
    while broker.handed:
        broker.done(broker.handed.pop())
    assert broker.answers.keys() == set(requests)
    assert sum(map(sys.getsizeof, broker.core.ledger._deadlines._buckets.values())) < 1_000
