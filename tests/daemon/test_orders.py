"""Orders to a daemon that runs, carried out: scale, log-level, drain."""

import itertools
import os
import signal

import pytest

from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import Callers
from tests.support.daemon import START_SECONDS, Daemon, End, Start
from tests.support.interpreter import Interpreter
from tests.support.load import Load
from tests.support.ordering import line_to, order, refused, run
from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT

# ---- scale


@pytest.mark.parametrize("pool", ["read", "write", "children"])
def test_a_pool_has_as_many_workers_as_was_ordered_and_no_item_fails(daemon: Daemon, pool: str) -> None:
    daemon.wait_for_workers()
    with daemon.client() as client, Load(client) as load:
        assert order(daemon, "scale", pool, "3") == {"pool": pool, "workers": 3, "wanted": 3}
        assert daemon.status()["pools"][pool]["workers"] == len(daemon.workers(pool)) == 3
        assert order(daemon, "scale", pool, "1")["workers"] == 1
        assert len(daemon.workers(pool)) == 1
    assert set(load.codes) == {"OK"}


def test_what_was_scaled_outlives_a_workers_death(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    order(daemon, "scale", "read", "2")
    before = daemon.workers("read")
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    daemon.log.expect("read worker .* is gone", count=2)
    daemon.wait_until(lambda status: status["pools"]["read"]["workers"] == 2, within=START_SECONDS)


def test_who_does_not_wait_is_told_what_is_now_and_what_is_wanted(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    assert "write: 1 worker now, 4 wanted" in run(daemon, "scale", "write", "4", "--no-wait").output
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 4, within=START_SECONDS)


def test_workers_that_do_not_come_in_time_are_said(interpreter: Interpreter, daemon: Daemon) -> None:
    daemon.wait_for_workers()
    with interpreter.away():  # none can start
        said = refused(daemon, "scale", "read", "3", "--timeout", "0.05")
    assert "read: 1 of 3 workers after 0.05 s: a few start at a time; the daemon goes on" in said
    daemon.wait_until(lambda status: status["pools"]["read"]["workers"] == 3, within=START_SECONDS)


# ---- the log's level


def test_the_level_holds_for_the_daemon_and_for_workers_that_run_and_for_those_to_come(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (writer,) = daemon.workers("write")
    numbers = itertools.count()
    with daemon.client() as client, Callers(client) as callers:

        def is_told_by(worker: int) -> bool:
            assert callers.create(next(numbers)).result()[0] == "OK"
            return f"DEBUG write worker {worker}: create of 1 items" in daemon.log.text

        assert order(daemon, "log-level", "debug") == {"level": "debug", "before": "info"}
        until(lambda: is_told_by(writer))
        os.kill(writer, signal.SIGKILL)
        daemon.log.expect(f"write worker {writer} is gone")
        daemon.wait_for_workers()
        until(lambda: is_told_by(*daemon.workers("write")))
        assert order(daemon, "log-level", "error")["before"] == "debug"
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(SOON) == 0
    daemon.log.close()
    assert "INFO ended" not in daemon.log.text


def test_a_worker_that_is_busy_for_long_bears_any_number_of_levels(start: Start) -> None:
    daemon = start(NOTHING_ENDS_IT)
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client(timeout=60) as client, Callers(client) as callers:
        held = callers.create(1)
        daemon.wait_until_in_flight(1)
        sweeps = daemon.status()["figures"]["sweeps"]
        levels = itertools.cycle(["debug", "info"])
        while daemon.status()["figures"]["sweeps"] < sweeps + 30:
            order(daemon, "log-level", next(levels))
        daemon.faults.clear()
        assert held.result()[0] == "OK"


# ---- drain


def test_a_drain_waits_for_the_end_of_the_daemon(start: Start) -> None:
    daemon = start()
    daemon.wait_for_workers()
    end = End(daemon.process.pid)
    with daemon.client() as client, Load(client) as load:
        assert order(daemon, "drain") == {"ended": True, "unfinished": 0}
        assert end.wait(0)
        client.close()  # nobody waits for another daemon
    assert daemon.process.wait(SOON) == 0
    assert set(load.codes) <= {"OK", "SHUTTING_DOWN", "NO_ANSWER"}
    daemon.log.close()
    assert f"drain, ordered by process {os.getpid()}: draining" in daemon.log.text
    daemon.expect_nothing_left()


def test_a_drain_that_leaves_something_unfinished_says_how_much(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 0.3})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        held = callers.create(1)
        daemon.wait_until_in_flight(1)
        assert "1 request not finished in time" in refused(daemon, "drain")
        assert held.result()[:2] == ("WORKER_CRASHED", "unknown")
    assert daemon.process.wait(SOON) == 0


def test_a_drain_that_takes_longer_than_somebody_waits_goes_on(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 60})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client(timeout=60) as client, Callers(client) as callers:
        held = callers.create(1)
        daemon.wait_until_in_flight(1)
        assert "has not ended within 0.05 s; 1 request pending" in refused(daemon, "drain", "--timeout", "0.05")
        assert "the daemon is ending" in refused(daemon, "scale", "write", "2")
        assert "the daemon is ending" in refused(daemon, "reload")
        daemon.signal(signal.SIGHUP)
        daemon.log.expect("SIGHUP is refused: the daemon is ending")
        daemon.signal(signal.SIGTTIN)
        daemon.log.expect("SIGTTIN is refused: the daemon is ending")
        assert len(daemon.workers("write")) == 1
        daemon.signal(signal.SIGTERM)  # of a supervisor, behind the order: not the second one, which cuts short
        daemon.log.expect("SIGTERM: draining already")
        daemon.faults.clear()
        assert held.result()[0] == "OK"
    assert daemon.process.wait(SOON) == 0


@EMBEDDED_ONLY
def test_who_waits_for_the_end_of_a_daemon_that_is_killed_is_told(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 60})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        held = callers.create(1)
        daemon.wait_until_in_flight(1)
        with line_to(daemon) as line:
            assert line.say(b'{"do": "drain"}')["pending"] == 1
            daemon.kill()
            assert line.hear() is None
        assert held.result()[:2] == ("NO_ANSWER", "unknown")
