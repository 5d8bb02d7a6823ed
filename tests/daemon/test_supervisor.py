"""The supervisor in this process, without workers: what it must do if something fails at its start, or at its end."""

import contextlib
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import supervisor
from broker.daemon_settings import Settings
from broker.decoding import from_submitter
from broker.events import StatusReceived, WorkerReady
from broker.settings import BrokerSettings
from protocol import wire
from supervisor import StartError, Supervisor, clock_us
from tests.support.patience import SOON


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store="null:", listen=(f"ipc://{tmp_path}/u.sock",), state=str(tmp_path / "state"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def descriptors() -> set[tuple[str, str]]:
    """Those of this process, each with what it leads to. Those of an earlier test may still be closed."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add((descriptor.name, os.readlink(descriptor)))
    return found


def hold_a_creation(daemon: Supervisor, worker: bytes) -> None:
    """The worker is handed a creation, of which nobody will hear any more."""
    core = daemon._core
    core.handle(WorkerReady(worker, "write"), clock_us())
    header = wire.RequestHeader(core.epoch, "create", clock_us() + 60_000_000, 1, 0)
    prefix = wire.pack_prefix(wire.REQUEST, bytes(16))
    core.handle(from_submitter((0, b"nobody"), [prefix, wire.pack_request_header(header), b"\x91\xc0"]), clock_us())
    core.dispatch(clock_us())
    core.take_actions()  # it was sent
    assert core.is_busy(worker)


def test_a_start_that_fails_at_an_address_leaves_nothing(settings: Settings, temporary: Path, tmp_path: Path) -> None:
    taken = Supervisor(settings, "test")
    try:
        before = sorted(temporary.iterdir())
        with pytest.raises(StartError):
            Supervisor(settings, "test")
        assert sorted(temporary.iterdir()) == before
    finally:
        taken._undo.close()
    assert not list(temporary.iterdir())
    assert not (tmp_path / "u.sock").exists()


def test_a_temporary_directory_that_is_too_long_leaves_nothing(
    settings: Settings, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = temporary / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(StartError):
        Supervisor(settings, "test")
    assert not list(long.iterdir())


@pytest.mark.parametrize("part", ["InDoubtLog", "Signals"])
def test_a_part_that_can_not_be_had_leaves_nothing(
    settings: Settings, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(supervisor, part, refused)
    before = descriptors()
    with pytest.raises(RuntimeError):
        Supervisor(settings, "test")
    assert not list(temporary.iterdir())
    assert not (tmp_path / "u.sock").exists()
    assert descriptors() <= before


def test_the_time_that_a_start_takes_is_no_standstill(settings: Settings, temporary: Path) -> None:
    started = time.monotonic()
    daemon = Supervisor(settings, "test")
    with daemon._undo:
        assert daemon._sweep_timer.next_sweep > started


def ask(daemon: Supervisor) -> None:
    """Somebody, who is gone by now, asks for the report."""
    daemon._step(daemon._core.handle, StatusReceived((0, b"nobody"), bytes(16)), clock_us())


def test_who_asks_how_a_daemon_is_whose_working_directory_is_gone_does_not_end_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    daemon = Supervisor(replace(settings, state="state"), "test")
    with daemon._undo:
        shutil.rmtree(working)
        ask(daemon)
        assert daemon._report()["state"] == str(working / "state")
    assert "defect" not in caplog.text


def test_a_report_that_can_not_be_made_does_not_end_the_daemon(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = Supervisor(settings, "test")
    with daemon._undo:
        monkeypatch.setattr(daemon._reporter, "report", lambda now: 1 // 0)
        ask(daemon)
    assert "a defect in the housekeeping; the daemon serves on" in caplog.text


def reload(daemon: Supervisor, meanwhile: Callable[[], object] = lambda: None) -> Any:
    """What is answered; meanwhile: happens when the settings are read, and not taken on yet."""
    came: list[Any] = []
    orders = daemon._orders
    orders._order_reload(came.append)
    assert select.select([orders._reload.descriptor], [], [], SOON)[0]
    meanwhile()
    assert orders.on_readable(orders._reload.descriptor)
    (answer,) = came
    return answer


def test_settings_that_are_read_when_the_daemon_is_told_to_end_are_not_taken_on(settings: Settings) -> None:
    daemon = Supervisor(settings, "test", lambda: replace(settings, drain_seconds=7.0))
    with daemon._undo:
        answer = reload(daemon, lambda: daemon._orders.drain.begin("told", 0.0, 0.0))
        assert answer == {"error": "nothing is changed: the daemon is ending"}
        assert daemon._orders.settings == settings


def test_a_defect_in_taking_settings_on_ends_neither_the_daemon_nor_reloading(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Supervisor(settings, "test", lambda: replace(settings, drain_seconds=7.0))
    with daemon._undo:
        with monkeypatch.context() as broken:
            broken.setattr(daemon._staff, "replace_all", lambda: 1 // 0)
            assert reload(daemon)["error"].startswith("a defect of the daemon, which serves on")
        assert reload(daemon)["ok"]


def test_a_defect_in_obeying_a_signal_does_not_end_the_daemon(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = Supervisor(settings, "test")
    with daemon._undo:
        monkeypatch.setattr(daemon._staff, "wanted", lambda pool: 1 // 0)
        sent_by_a_process = (signal.SIGTTIN, 0, 0, os.getpid(), 0, 0, 0)
        daemon._orders.on_signal(signal.struct_siginfo(sent_by_a_process))
    assert "SIGTTIN: a defect in carrying out its order" in caplog.text


def test_a_daemon_of_rare_sweeps_sweeps_as_often_as_a_short_watchdog_wants_to_be_fed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    daemon = Supervisor(replace(settings, broker=BrokerSettings(sweep_seconds=1.0)), "test")
    with daemon._undo:
        first = daemon._sweep_timer.next_sweep
        assert daemon._sweep_timer.is_due(first)
        assert daemon._sweep_timer.next_sweep == pytest.approx(first + 0.1)


def test_what_a_worker_held_that_does_not_end_is_in_doubt(
    settings: Settings, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs in the kernel: the time to stop is over before its end was seen."""
    daemon = Supervisor(settings, "test")
    with daemon._undo:
        try:
            hold_a_creation(daemon, daemon._manager.start("write", 0.0).identity)
            monkeypatch.setattr(supervisor, "_STOP_SECONDS", 0.0)
            daemon._step(daemon._core.end)
            daemon._stop_workers()
            assert daemon._core.report(clock_us())["counters"]["lost_requests"] == 1
        finally:
            daemon._manager.end()
    assert "create" in (tmp_path / "state" / "in-doubt.jsonl").read_text()


def test_a_worker_that_is_stopped_and_late_is_ended_once(settings: Settings, temporary: Path) -> None:
    daemon = Supervisor(settings, "test")
    with daemon._undo:
        manager = daemon._manager
        process = manager.start("read", 0.0)
        try:
            process._signal(signal.SIGSTOP)
            failing: list[tuple[bytes, str, str]] = []
            while not failing:
                failing = manager.find_failing(1.0, lambda identity: False)
            assert manager.find_failing(1e9, lambda identity: False) == [(process.identity, "stopped", "is stopped")]
        finally:
            manager.end()


def test_a_worker_that_is_to_end_when_it_becomes_ready_is_given_no_work(settings: Settings, temporary: Path) -> None:
    """Scaled away while it starts: it has said that it is ready, and is killed before that is read."""
    daemon = Supervisor(settings, "test")
    with daemon._undo:
        process = daemon._manager.start("read", 0.0)
        try:
            link = daemon._transport.workers._links[process.identity]
            assert select.select([link], [], [], SOON)[0]
            daemon._staff.retire(process)
            daemon._receive_from_worker(process.identity, daemon._transport.workers.receive(process.identity))
            assert not daemon._core.is_ready(process.identity)
        finally:
            daemon._manager.end()
