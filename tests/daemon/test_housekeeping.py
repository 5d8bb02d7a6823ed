"""P14: nothing that starts, watches, reaps, describes or replaces workers ends the daemon, or breaks a promise."""

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import zmq

from broker.transport.worker_links import WorkerLinks
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import HEIGHT, OUTPUT, Callers, txid
from tests.support.daemon import Daemon, Start, until
from tests.support.interpreter import Interpreter
from workers.launch import WorkerSettings
from workers.management.manager import WorkerManager
from workers.management.process import WorkerProcess

Fault = Callable[[Daemon, Interpreter], contextlib.AbstractContextManager[None]]
IMPATIENT = {"broker.workerless_seconds": 0.2}


def interpreter_away(_: Daemon, interpreter: Interpreter) -> contextlib.AbstractContextManager[None]:
    return interpreter.away()


@contextlib.contextmanager
def no_descriptors(daemon: Daemon, _: Interpreter) -> Iterator[None]:
    """Below this limit, all are in use; poll() itself wants one that is not below what it polls."""
    limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (12, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("fault", [interpreter_away, no_descriptors])
def test_while_no_worker_can_be_started_the_daemon_answers_unavailable_and_recovers(
    start: Start, interpreter: Interpreter, fault: Fault
) -> None:
    daemon = start(IMPATIENT)
    daemon.wait_for_workers()
    (writer,) = daemon.workers("write")
    with daemon.client() as client, Callers(client) as callers:
        assert callers.create(1).result()[0] == "OK"
        with fault(daemon, interpreter):
            os.kill(writer, signal.SIGKILL)
            daemon.log.expect("write worker can't be started: ", count=3)
            assert callers.create(2).result()[:2] == ("UNAVAILABLE", "no")
            assert callers.get(1).result()[0] == "OK"
            assert client.status()["pools"]["write"]["workers"] == 0
            daemon.log.expect(r"the next write worker starts in 0.4 s: 4 in a row died young or could not be started")
        until(lambda: callers.create(2).result()[0] == "OK", within=20)
    # Growing delays, not a line for each sweep.
    assert daemon.log.text.count("can't be started") < 10


def test_a_worker_ended_by_a_signal_without_a_name_is_replaced(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (writer,) = daemon.workers("write")
    os.kill(writer, 40)
    daemon.log.expect(f"write worker {writer} is gone: it was ended by signal 40")
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 1)
    with daemon.client() as client:
        assert client.create_partial(txid(1), OUTPUT, block_height=HEIGHT)["records"] == 1


def test_sighup_keeps_the_workers_whose_replacement_cannot_be_started(start: Start, interpreter: Interpreter) -> None:
    daemon = start()
    daemon.wait_for_workers()
    before = {process["pid"] for process in daemon.status()["processes"]}
    with interpreter.away():
        daemon.signal(signal.SIGHUP)
        daemon.log.expect("could not be replaced", count=3)
        assert {process["pid"] for process in daemon.status()["processes"]} == before
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda status: not before & {process["pid"] for process in status["processes"]})


@EMBEDDED_ONLY
def test_a_first_start_that_fails_for_a_moment_is_tried_again(start: Start, interpreter: Interpreter) -> None:
    absent = interpreter.path.with_name("absent")
    interpreter.break_library(f"import sys\nsys.executable = {str(absent)!r}\n")
    daemon = start(ready=False)
    daemon.log.expect("can't be started: .*absent", count=3)
    absent.symlink_to(interpreter.path)
    daemon.wait_for_workers()


@EMBEDDED_ONLY
def test_a_first_start_that_fails_for_good_ends_and_says_why(start: Start, interpreter: Interpreter) -> None:
    absent = interpreter.path.with_name("absent")
    interpreter.break_library(f"import sys\nsys.executable = {str(absent)!r}\n")
    daemon = start(ready=False)
    assert daemon.process.wait(60) == 1
    daemon.log.close()
    assert f"can't be started: [Errno 2] No such file or directory: '{absent}'" in daemon.log.text
    assert "the workers could not start" in daemon.log.lines[-1]
    daemon.expect_nothing_left()


@EMBEDDED_ONLY
def test_a_defect_in_the_housekeeping_is_logged_now_and_then_and_harms_nobody(
    start: Start, interpreter: Interpreter
) -> None:
    interpreter.break_library(
        "import psutil\npsutil.Process.status = psutil.Process.memory_info = lambda process: 1 / 0\n"
    )
    daemon = start()
    daemon.wait_for_workers()
    daemon.log.expect("ZeroDivisionError")
    (writer,) = daemon.workers("write")
    with daemon.client() as client, Callers(client) as callers:
        assert callers.create(1).result()[0] == "OK"
        os.kill(writer, signal.SIGKILL)
        daemon.log.expect(f"write worker {writer} is gone")
        assert callers.create(2, timeout=20).result()[0] == "OK"
        up = daemon.status()["uptime_seconds"]
        daemon.wait_until(lambda status: status["uptime_seconds"] > up + 1)
    assert daemon.log.text.count("ZeroDivisionError") < 5
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(10) == 0


def worker_settings(link: int = -1) -> WorkerSettings:
    return WorkerSettings("read", link, "null:", os.getpid(), 1.0, 1.0, 288)


@pytest.fixture
def links() -> Iterator[WorkerLinks]:
    links = WorkerLinks(zmq.Poller())
    yield links
    links.close()


def start_worker(links: WorkerLinks) -> WorkerProcess:
    with links.connect(b"worker") as link:
        return WorkerProcess(b"worker", worker_settings(link.fileno()), 0.0)


def test_a_worker_that_can_not_be_watched_is_not_left_over(monkeypatch: pytest.MonkeyPatch, links: WorkerLinks) -> None:
    def no_descriptors_left(pid: int, flags: int = 0) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", no_descriptors_left)
    before = psutil.Process().children()
    with pytest.raises(OSError, match="Too many open files"):
        start_worker(links)
    assert psutil.Process().children() == before


def test_a_worker_is_described_and_ended_where_proc_can_not_be_read(
    monkeypatch: pytest.MonkeyPatch, links: WorkerLinks, tmp_path: Path
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    worker = start_worker(links)
    assert (worker.is_stopped(), worker.memory_bytes()) == (False, 0)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL


def test_a_worker_that_lives_ends_the_row_of_failures_before_it(
    monkeypatch: pytest.MonkeyPatch, links: WorkerLinks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = WorkerManager(worker_settings(), {"read": 1}, links=links, watch=lambda *_: None, unwatch=lambda *_: None)
    now = time.monotonic()
    with monkeypatch.context() as away:
        away.setattr(sys, "executable", str(tmp_path / "absent"))
        for _ in range(4):
            manager.tend(now := now + 1)
    assert "4 in a row" in caplog.text
    manager.tend(now := now + 1)
    assert len(manager.processes) == 1
    manager.tend(now := now + 6)
    caplog.clear()
    manager.end()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    for _ in range(2):
        manager.tend(now + 1)
    assert "the next read worker starts in 0.1 s: 2 in a row" in caplog.text


def test_workers_are_started_one_a_turn_of_the_loop_in_all_pools(links: WorkerLinks) -> None:
    """A start takes as long as the machine is busy."""
    counts = {"read": 3, "write": 2}
    manager = WorkerManager(worker_settings(), counts, links=links, watch=lambda *_: None, unwatch=lambda *_: None)
    started = []
    while manager.tend(time.monotonic()):
        started.append(len(manager.processes))
    assert started == [1, 2, 3, 4]
    assert [process.pool for process in manager.processes.values()] == ["read", "write", "read", "write", "read"]
    manager.end()
