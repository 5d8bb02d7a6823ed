"""P5 and P8: a worker that is wedged is ended at the execution limit, and a store that wedges them is not stampeded."""

import time

from tests.support.callers import Callers
from tests.support.daemon import IS_THERE, SHORT, SHORT_BUDGET, Start
from tests.support.patience import SOON, until

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
        assert LIMIT < answered - began < SOON
    daemon.log.expect(f"write worker {worker} has been busy with create for too long")
    daemon.log.expect(r"faulty.py.* in batch_operate")  # its stack
    daemon.log.expect("started write worker", count=2)
    daemon.faults.clear()


def test_while_writes_are_wedged_the_others_are_refused_at_once_and_reads_go_on(start: Start) -> None:
    # Reads are held to the limit, too: a busy machine is to keep to it.
    daemon = start({**SHORT, "broker.grace_seconds": 4, "broker.probe_seconds": 60})
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
        assert time.monotonic() - began < SOON
        assert callers.get(1).result()[0] == "OK"
        assert callers.get(2).result()[0] == "TX_NOT_FOUND"
        assert daemon.status()["pools"]["read"]["breaker"] == "closed"
        daemon.faults.clear()


def test_a_breaker_sends_one_probe_at_a_time_and_closes_by_itself_when_the_store_is_back(start: Start) -> None:
    daemon = start({**SHORT, "workers.write": 2})
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 2, within=60)
    daemon.faults.set(kind="hang", function="setLocked")
    with daemon.client() as client, Callers(client) as callers:
        until(lambda: callers.create(1).result()[0] in IS_THERE)
        assert callers.lock(1).result()[0] == "WORKER_CRASHED"
        # Probes are lost too: one after the other.
        refused = 0
        while daemon.counter("condemned") < 3 or not refused:
            code, executed, _ = callers.lock(1).result()
            assert (code, executed) in (("UNAVAILABLE", "no"), ("WORKER_CRASHED", "unknown"))
            refused += code == "UNAVAILABLE"
            assert daemon.status()["pools"]["write"]["in_flight"] <= 1
        daemon.faults.clear()
        until(lambda: callers.lock(1).result()[0] == "OK")
        assert daemon.status()["pools"]["write"]["breaker"] == "closed"
        daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 2, within=60)
    assert "died young" not in daemon.log.text


def test_of_a_store_that_gives_no_answer_in_time_nothing_is_asked_and_no_worker_is_ended_for_it(start: Start) -> None:
    daemon = start({**SHORT_BUDGET, "broker.batch_limit": 1, "broker.probe_seconds": 60})
    daemon.wait_for_workers()
    starts = daemon.worker_starts()
    daemon.faults.set(kind="time_out")
    with daemon.client() as one, daemon.client() as another, Callers(one) as callers, Callers(another) as others:
        asked = [callers.create(1), others.create(2)]  # of which one is handed out, and one waits
        assert sorted(future.result()[:2] for future in asked) == [("STORE_ERROR", "unknown"), ("UNAVAILABLE", "no")]
        assert daemon.status()["pools"]["write"]["breaker"] == "open"
        assert callers.create(3).result()[:2] == ("UNAVAILABLE", "no")
    daemon.log.expect("create of 1 items: the store did not answer in time")
    assert daemon.worker_starts() == starts
    daemon.faults.clear()


def test_a_store_that_gave_no_answer_in_time_is_probed_and_served_again_by_the_same_workers(start: Start) -> None:
    daemon = start(SHORT_BUDGET)
    daemon.wait_for_workers()
    starts = daemon.worker_starts()
    daemon.faults.set(kind="time_out")
    with daemon.client() as client, Callers(client) as callers:
        assert callers.create(1).result()[:2] == ("STORE_ERROR", "unknown")
        # Probes fail too, one after the other.
        until(lambda: callers.create(2).result()[:2] == ("STORE_ERROR", "unknown"))
        daemon.faults.clear()

        def is_served() -> bool:
            code = callers.create(2).result()[0]
            return code in IS_THERE and daemon.status()["pools"]["write"]["breaker"] == "closed"

        until(is_served)
    assert daemon.worker_starts() == starts


def test_a_daemon_that_stood_still_blames_no_worker_for_it(start: Start) -> None:
    daemon = start({**SHORT, "broker.grace_seconds": 4})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        written = callers.create(1)
        daemon.wait_until_in_flight(1)
        with daemon.stopped():
            daemon.faults.clear()
            # Its timeout ends after the worker's answer, and after the execution limit.
            assert callers.get(1, timeout=5).result()[0] == "NO_ANSWER"
        assert written.result()[0] == "OK"
    daemon.log.expect("stood still")
    assert daemon.counter("condemned") == 0
