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
from tests.support.daemon import Daemon, Start
from tests.support.interpreter import Interpreter
from tests.support.patience import until
from workers.launch import DUMP_SIGNAL, WorkerSettings
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
        began = time.monotonic()
        with fault(daemon, interpreter):
            os.kill(writer, signal.SIGKILL)
            daemon.log.expect("write worker can't be started: ", count=3)
            assert callers.create(2).result()[:2] == ("UNAVAILABLE", "no")
            assert callers.get(1).result()[0] == "OK"
            assert client.status()["pools"]["write"]["workers"] == 0
            daemon.log.expect(r"the next write worker starts in 0.4 s: 4 in a row died young or could not be started")
        until(lambda: callers.create(2).result()[0] == "OK")
    # Growing delays, up to a second, not a line for each sweep.
    assert daemon.log.text.count("can't be started") <= 6 + time.monotonic() - began


def test_a_worker_ended_by_a_signal_without_a_name_is_replaced(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (writer,) = daemon.workers("write")
    os.kill(writer, 40)
    daemon.log.expect(f"write worker {writer} is gone: it was ended by signal 40")
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 1, within=60)
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
    daemon.wait_until(lambda status: not before & {process["pid"] for process in status["processes"]}, within=60)


# Fewer than those after which a daemon gives up.
FIRST_STARTS_FAIL = """
import subprocess
begin, failures = subprocess.Popen.__init__, iter(range(6))
def fail_first(process, command, *arguments, **options):
    if "workers" in command and next(failures, None) is not None:
        command = ["absent", *command[1:]]
    begin(process, command, *arguments, **options)
subprocess.Popen.__init__ = fail_first
"""


@EMBEDDED_ONLY
def test_a_first_start_that_fails_for_a_moment_is_tried_again(start: Start, interpreter: Interpreter) -> None:
    interpreter.break_library(FIRST_STARTS_FAIL)
    daemon = start(ready=False)
    daemon.log.expect("can't be started: .*absent", count=6, within=60)
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
        assert callers.create(2).result()[0] == "OK"
        up = daemon.status()["uptime_seconds"]
        up = daemon.wait_until(lambda status: status["uptime_seconds"] > up + 1)["uptime_seconds"]
    assert daemon.log.text.count("ZeroDivisionError") < 5 + up / 10
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0


def nobody(identity: bytes) -> bool:
    """Is ready."""
    return False


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
    before = set(psutil.Process().children())  # what others have left of these may go meanwhile
    with pytest.raises(OSError, match="Too many open files"):
        start_worker(links)
    assert set(psutil.Process().children()) <= before


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
            manager.tend(now := now + 1, nobody)
    assert "4 in a row" in caplog.text
    manager.tend(now := now + 1, nobody)
    assert len(manager.processes) == 1
    manager.tend(now := now + 6, nobody)
    caplog.clear()
    manager.end()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    for _ in range(2):
        manager.tend(now + 1, nobody)
    assert "the next read worker starts in 0.1 s: 2 in a row" in caplog.text


def test_a_worker_that_gets_no_processor_dumps_its_stacks_once_it_has_one_and_is_killed_then(
    links: WorkerLinks, interpreter: Interpreter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interpreter.hold_workers(tmp_path / "go")
    manager = WorkerManager(worker_settings(), {"read": 0}, links=links, watch=lambda *_: None, unwatch=lambda *_: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {DUMP_SIGNAL})  # which the worker undoes once it goes on
    process = manager.start("read", 0.0)
    try:
        manager.terminate(process.identity, "wedged", "is wedged", 0.0)
        manager.tend(1.0, nobody)
        assert process.stacks() == ""
        (tmp_path / "go").touch()
        until(lambda: "Current thread" in process.stacks(), within=60)
        manager.tend(1.0, nobody)
        assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    (record,) = [record for record in caplog.records if "stood here" in record.message]
    assert record.message == f"read worker {process.pid} stood here"
    assert "Current thread" in (record.stack_info or "")


def test_a_worker_that_does_not_hear_the_order_to_dump_is_killed_all_the_same(
    links: WorkerLinks, interpreter: Interpreter, tmp_path: Path
) -> None:
    interpreter.hold_workers(tmp_path / "go")
    manager = WorkerManager(worker_settings(), {"read": 0}, links=links, watch=lambda *_: None, unwatch=lambda *_: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {DUMP_SIGNAL})
    process = manager.start("read", 0.0)
    try:
        manager.terminate(process.identity, "wedged", "is wedged", 0.0)
        manager.tend(1.3, nobody)
        assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_workers_are_started_one_a_turn_of_the_loop_in_all_pools(links: WorkerLinks) -> None:
    """A start takes as long as the machine is busy."""
    counts = {"read": 3, "write": 2}
    manager = WorkerManager(worker_settings(), counts, links=links, watch=lambda *_: None, unwatch=lambda *_: None)
    started = []
    while manager.tend(time.monotonic(), nobody):
        started.append(len(manager.processes))
    assert started == [1, 2, 3, 4]
    assert [process.pool for process in manager.processes.values()] == ["read", "write", "read", "write", "read"]
    manager.end()


def test_of_hundreds_of_workers_as_many_are_starting_at_once_as_became_ready_of_late(
    links: WorkerLinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would keep each other from being ready in time."""
    monkeypatch.setattr("workers.management.manager._FIRST_STARTING", 2)
    counts = {"read": 200, "write": 200}
    manager = WorkerManager(worker_settings(), counts, links=links, watch=lambda *_: None, unwatch=lambda *_: None)
    ready: set[bytes] = set()

    def started(now: float) -> int:
        """One more after the other, until the loop need not come back at once."""
        while manager.tend(now, ready.__contains__):
            pass
        return len(manager.processes) - len(ready)

    try:
        assert started(100.0) == 2
        for count in (2, 4, 8):
            ready.update(manager.processes)
            assert started(100.0) == count
        ready.update(manager.processes)
        assert started(120.0) == 8  # the earlier ones no longer tell anything
        ready.add(list(manager.processes)[-1])
        assert started(140.0) == 7
    finally:
        manager.end()


def test_workers_that_hang_in_the_kernel_at_their_start_do_not_become_more_and_more(
    links: WorkerLinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.management.manager._FIRST_STARTING", 2)
    manager = WorkerManager(worker_settings(), {"read": 2}, links=links, watch=lambda *_: None, unwatch=lambda *_: None)
    try:
        for now in (0.0, 31.0, 62.0):
            manager.tend(now, nobody)
            manager.tend(now, nobody)
            assert len(manager.processes) == 2
            for identity in list(manager.processes):
                manager.terminate(identity, "not_ready", "has not become ready", now)
        for hung in list(manager.processes.values()):  # the disk is back
            hung.kill()
            manager.reap(hung.descriptor)
        manager.tend(93.0, nobody)
        assert len(manager.processes) == 1
    finally:
        manager.end()
