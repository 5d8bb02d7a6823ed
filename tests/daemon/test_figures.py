"""What a daemon's report says of itself: whoever asks STATUS sees what happened, and what is now."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from protocol import wire
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import Callers
from tests.support.daemon import SHORT, START_SECONDS, Daemon, Raw, Start
from tests.support.interpreter import Interpreter
from tests.support.patience import until
from tests.support.seven_operations import NOTHING_ENDS_IT


def answers(report: dict[str, Any]) -> dict[tuple[str, str, str], tuple[int, int]]:
    return {
        (row["pool"], row["operation"], row["code"]): (row["items"], row["requests"])
        for row in report["figures"]["answers"]
    }


def exits(report: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(row["pool"], row["cause"]): row["count"] for row in report["figures"]["worker_exits"]}


def expect_starts_and_exits_to_add_up(report: dict[str, Any]) -> None:
    starts = sum(row["count"] for row in report["figures"]["worker_starts"])
    assert starts == sum(exits(report).values()) + len(report["processes"])


def test_what_was_asked_is_told_by_operation_and_code_with_the_time_that_the_store_took(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    with daemon.client() as client, Callers(client) as callers:
        daemon.faults.set(kind="delay", seconds=0.05, times=None)
        assert callers.create(1).result()[0] == "OK"
        daemon.faults.clear()
        assert callers.get(1).result()[0] == "OK"
        assert callers.get(2).result()[0] == "TX_NOT_FOUND"
        report = client.status()
    assert answers(report) == {
        ("write", "create", "OK"): (1, 1),
        ("read", "get", "OK"): (1, 2),
        ("read", "get", "TX_NOT_FOUND"): (1, 0),
    }
    [stored] = [row for row in report["figures"]["store_seconds"] if row["operation"] == "create"]
    [executed] = [row for row in report["figures"]["execution_seconds"] if row["operation"] == "create"]
    assert sum(stored["counts"]) == sum(executed["counts"]) == 1
    assert 0.05 <= stored["sum"] <= executed["sum"]
    assert report["figures"]["sweeps"] > 0
    assert sum(report["figures"]["sweep_lateness_seconds"]["counts"]) >= report["figures"]["sweeps"]


def test_settings_that_are_numbers_and_what_a_pool_is_to_have_are_told(start: Start) -> None:
    daemon = start({"workers.write": 2, "broker.queue_items": 77})
    report = daemon.status()
    assert report["settings"]["broker.queue_items"] == report["pools"]["read"]["queue_items"] == 77
    assert report["settings"]["workers.write"] == report["pools"]["write"]["workers_wanted"] == 2
    assert not [key for key, value in report["settings"].items() if type(value) not in (int, float)]
    assert report["state"] == str(daemon.directory / "state")


def test_descriptors_are_those_that_are_open(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    with daemon.client() as client:
        # Those that have looked for workers may not be quite gone at one of the two looks.
        until(lambda: client.status()["descriptors"]["open"] == daemon.descriptors())


@EMBEDDED_ONLY
@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_submitters_that_are_connected_are_counted_until_they_go(
    start: Start, raw: Callable[..., Raw], kind: str
) -> None:
    daemon = start(None, "--listen", "tcp://127.0.0.1:0")
    endpoint = next(address for address in daemon.status()["listen"] if address.startswith(kind))
    others = [raw(endpoint) for _ in range(30)]
    for other in others:
        other.handshake()
    daemon.wait_until(lambda status: status["submitters"] == 31)
    for other in others[:20]:
        other.close()
    daemon.wait_until(lambda status: status["submitters"] == 11)


def test_a_worker_that_ends_is_counted_by_the_cause(start: Start) -> None:
    daemon = start({**SHORT, "broker.probe_seconds": 60})
    daemon.wait_for_workers()
    os.kill(daemon.workers("read")[0], signal.SIGKILL)
    daemon.wait_until(lambda status: exits(status) == {("read", "crashed"): 1})
    os.kill(daemon.workers("children")[0], signal.SIGSTOP)
    daemon.wait_until(lambda status: ("children", "stopped") in exits(status))
    with daemon.client() as client, Callers(client) as callers:
        daemon.faults.set(kind="hang")
        assert callers.create(1).result()[0] == "WORKER_CRASHED"
        daemon.faults.clear()
    report = daemon.wait_until(lambda status: ("write", "wedged") in exits(status))
    assert exits(report) == {("read", "crashed"): 1, ("children", "stopped"): 1, ("write", "wedged"): 1}
    assert report["pools"]["write"]["breaker_trips"] == 1
    expect_starts_and_exits_to_add_up(report)


def test_a_worker_that_was_told_to_end_is_retired(start: Start) -> None:
    daemon = start({"workers.write": 2})
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 2, within=START_SECONDS)
    daemon.signal(signal.SIGTTOU)
    report = daemon.wait_until(exits)
    assert exits(report) == {("write", "retired"): 1}
    assert report["pools"]["write"]["workers_wanted"] == 1
    expect_starts_and_exits_to_add_up(report)


def test_a_process_is_told_with_its_state(start: Start) -> None:
    daemon = start(NOTHING_ENDS_IT)
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        written = callers.create(1)
        report = daemon.wait_until_in_flight(1)
        states = {process["pool"]: process["state"] for process in report["processes"]}
        assert states == {"read": "ready", "write": "busy", "children": "ready"}
        daemon.faults.clear()
        assert written.result()[0] == "OK"
    assert report["pools"]["write"]["longest_seconds"] >= 0


@EMBEDDED_ONLY
def test_lines_of_log_that_are_lost_are_counted_also_the_workers(start: Start, interpreter: Interpreter) -> None:
    interpreter.wrap('exec {python} "$@" 2>/dev/full')
    daemon = start({"broker.budget_seconds": 1, "broker.grace_seconds": 60})
    daemon.wait_until(lambda status: status["log_lines_dropped"]["daemon"])
    with daemon.client() as client, Callers(client) as callers:
        daemon.faults.set(kind="time_out")
        assert callers.create(1).result()[0] == "STORE_ERROR"  # its worker says so, on several lines
        daemon.faults.clear()

        def is_told(status: dict[str, Any]) -> bool:
            callers.create(2).result()
            return bool(status["log_lines_dropped"]["workers"])

        daemon.wait_until(is_told)


def test_a_workers_log_names_dispatch_and_requests(start: Start, raw: Callable[..., Raw]) -> None:
    daemon = start({"broker.budget_seconds": 1, "broker.grace_seconds": 60})
    daemon.wait_for_workers()
    daemon.faults.set(kind="time_out")
    socket = raw(daemon.endpoint)
    welcome = socket.handshake()
    deadline = welcome.clock + 60_000_000
    request_id = socket.ask(
        wire.RequestHeader(welcome.epoch, "get", deadline, 1, 0), wire.pack_body([[bytes(32), None]])
    )
    assert request_id in socket.replies(1)
    daemon.log.expect(rf"get of 1 items: .* \(dispatch 1, requests {request_id.hex()}\)")
    daemon.faults.clear()
