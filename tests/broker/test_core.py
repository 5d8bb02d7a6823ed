"""The promises that the broker's core keeps of a request, from its admission to its one answer, one schedule each;
tests/simulation tries the others."""

import subprocess
import sys
from typing import Any

import pytest

from broker.actions import ReportWanted, Terminate
from broker.decoding import from_submitter
from broker.events import ReplyUndelivered, StatusReceived, WorkerReady
from protocol import wire
from protocol.wire import Error, RequestHeader
from protocol.worker_wire import pack_done
from tests.support.broker_by_hand import EPOCH, SECOND, Broker
from utxod.import_guard import ROOT

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


# ---- what it tells, and leaves


def test_an_action_is_taken_once(broker: Broker) -> None:
    broker.core.handle(WorkerReady(b"r1", "read"), broker.now)
    broker.core.terminate(b"r1", "stopped", "is stopped")
    broker.core.terminate(b"r1", "stopped", "is stopped")
    assert broker.core.take_actions() == [Terminate(b"r1", "stopped", "is stopped")]
    assert broker.core.take_actions() == []


def test_all_who_ask_for_the_report_before_it_is_made_share_one(broker: Broker) -> None:
    """It looks at every process and descriptor: who floods with STATUS is not to hold up everybody else."""
    for number in range(3):
        broker.core.handle(StatusReceived("a", bytes([number])), broker.now)
    [wanted] = broker.core.take_actions()
    broker.core.handle(StatusReceived("b", b"later"), broker.now)
    assert wanted == ReportWanted([("a", b"\0"), ("a", b"\1"), ("a", b"\2")])
    assert broker.core.take_actions() == [ReportWanted([("b", b"later")])]


def reports_of(broker: Broker, asks: int, sweep_every: int) -> list[int]:
    """How many ask for each of the reports that are made: each asks in a turn of its own."""
    made = []
    for number in range(1, asks + 1):
        broker.core.handle(StatusReceived("a", number.to_bytes(16, "little")), broker.now)
        if number % sweep_every == 0:
            broker.core.sweep(broker.now)
        made += [len(action.askers) for action in broker.core.take_actions() if isinstance(action, ReportWanted)]
    return made


def test_reports_are_made_at_a_bounded_rate_and_nobody_who_asks_gets_none(broker: Broker) -> None:
    """Who asks and never reads keeps each that was made."""
    assert reports_of(broker, asks=10_000, sweep_every=200) == [1] * 100 + [100] + [200] * 49


def test_who_waits_for_a_report_is_one_of_so_many_that_they_are_answered_within_a_turn(broker: Broker) -> None:
    assert max(reports_of(broker, asks=10_000, sweep_every=5_000)) == 1_000


def test_who_asks_now_and_then_waits_for_no_sweep(broker: Broker) -> None:
    assert reports_of(broker, asks=10_000, sweep_every=1) == [1] * 10_000


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


# In a process of its own: the collector counts what other threads leave, too.
WORK = """
import gc
from tests.support.broker_by_hand import Broker, locking

broker = Broker()
gc.collect()
gc.disable()
locking(broker)
broker.ready(b"c1", "children")
broker.done(broker.handed[-1])
broker.ready(b"r1")
broker.submit(items=["x"] * 5)
broker.lose(b"r1")
broker.after(10)
broker.handed.clear()
print(gc.collect())
"""


def test_the_core_makes_no_garbage_that_only_the_collector_could_free() -> None:
    assert subprocess.check_output([sys.executable, "-c", WORK], cwd=ROOT, text=True, timeout=60) == "0\n"
