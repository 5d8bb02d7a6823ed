"""P5 and P8: a worker that is wedged is ended at the execution limit, and a store that wedges them is not stampeded."""

import time

from tests.support.callers import Callers
from tests.support.daemon import SHORT, Start, until

LIMIT = SHORT["broker.budget_seconds"] + SHORT["broker.grace_seconds"]


def test_a_wedged_worker_leaves_its_stacks_is_ended_and_its_items_are_answered_at_the_limit(start: Start) -> None:
    daemon = start({**SHORT, "broker.probe_seconds": 60})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    (worker,) = daemon.workers("write")
    with daemon.client() as client, Callers(client) as callers:
        began = time.monotonic()
        code, executed, answered = callers.create(1).result()
        assert (code, executed) == ("WORKER_CRASHED", "unknown")
        print(f"dispatched to answered: {answered - began:.2f} s, limit {LIMIT:.2f} s")
        assert LIMIT < answered - began < LIMIT + 1
    daemon.log.expect(f"write worker {worker} has been busy with create for too long")
    daemon.log.expect(r"faulty.py.* in batch_operate")  # its stack
    daemon.log.expect("started write worker", count=2)
    daemon.faults.clear()


def test_while_writes_are_wedged_the_others_are_refused_at_once_and_reads_go_on(start: Start) -> None:
    daemon = start({**SHORT, "broker.probe_seconds": 60})
    with daemon.client() as client, Callers(client) as callers:
        assert callers.create(1).result()[0] == "OK"
        daemon.faults.set(kind="hang", function="setLocked")
        client_wide = callers.lock(1)
        daemon.wait_until_in_flight(1)
        queued = [callers.create(number) for number in range(10, 20)]
        assert client_wide.result()[:2] == ("WORKER_CRASHED", "unknown")
        assert {future.result()[:2] for future in queued} == {("UNAVAILABLE", "no")}
        assert daemon.status()["pools"]["write"]["breaker"] == "open"
        began = time.monotonic()
        assert callers.create(2).result()[:2] == ("UNAVAILABLE", "no")
        assert time.monotonic() - began < 1
        assert callers.get(1).result()[0] == "OK"
        assert callers.get(2).result()[0] == "TX_NOT_FOUND"
        assert daemon.status()["pools"]["read"]["breaker"] == "closed"
        daemon.faults.clear()


def test_a_breaker_sends_one_probe_at_a_time_and_closes_by_itself_when_the_store_is_back(start: Start) -> None:
    daemon = start({**SHORT, "workers.write": 2})
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 2)
    daemon.faults.set(kind="hang", function="setLocked")
    with daemon.client() as client, Callers(client) as callers:
        assert callers.create(1).result()[0] == "OK"
        assert callers.lock(1).result()[0] == "WORKER_CRASHED"
        # Probes are lost too: one after the other.
        refused = 0
        while daemon.counter("condemned") < 3:
            code, executed, _ = callers.lock(1).result()
            assert (code, executed) in (("UNAVAILABLE", "no"), ("WORKER_CRASHED", "unknown"))
            refused += code == "UNAVAILABLE"
            assert daemon.status()["pools"]["write"]["in_flight"] <= 1
        assert refused > 0
        daemon.faults.clear()
        until(lambda: callers.lock(1).result()[0] == "OK")
        assert daemon.status()["pools"]["write"]["breaker"] == "closed"
        daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 2)
    assert "died young" not in daemon.log.text


def test_a_store_that_gives_no_answer_in_time_is_probed_and_no_worker_is_ended_for_it(start: Start) -> None:
    daemon = start(SHORT)
    daemon.wait_for_workers()
    workers = daemon.started()
    daemon.faults.set(kind="time_out")
    with daemon.client() as client, Callers(client) as callers:
        held = callers.create(1)
        daemon.wait_until_in_flight(1)
        queued = callers.create(2)
        assert held.result()[:2] == ("STORE_ERROR", "unknown")
        assert queued.result()[:2] == ("UNAVAILABLE", "no")
        assert daemon.status()["pools"]["write"]["breaker"] == "open"
        assert callers.create(2).result()[:2] == ("UNAVAILABLE", "no")
        daemon.faults.clear()
        until(lambda: callers.create(2).result()[0] == "OK")
        assert daemon.status()["pools"]["write"]["breaker"] == "closed"
    daemon.log.expect("create of 1 items: the store did not answer in time")
    assert daemon.started() == workers


def test_a_daemon_that_stood_still_blames_no_worker_for_it(start: Start) -> None:
    daemon = start(SHORT)
    daemon.wait_for_workers()
    daemon.faults.set(kind="delay", seconds=0.1, times=None)
    with daemon.client() as client, Callers(client) as callers:
        for number in range(2):
            written = callers.create(number)
            daemon.wait_until_in_flight(1)
            with daemon.stopped():
                # Its timeout ends after the worker's answer, and after the execution limit.
                assert callers.get(1, timeout=2 * LIMIT).result()[0] == "NO_ANSWER"
            assert written.result()[0] == "OK"
            # Standing still twice within one sweep, it could not tell from being too slow.
            up = daemon.status()["uptime_seconds"]
            daemon.wait_until(lambda status, up=up: status["uptime_seconds"] > up + 0.2)
    daemon.log.expect("stood still", count=2)
    assert daemon.counter("condemned") == 0
