"""The supervisor in this process, without workers: what it must do if something fails at its start, or at its end."""

import os
import tempfile
from pathlib import Path

import pytest

import supervisor
from broker.daemon_settings import Settings
from broker.decoding import from_submitter
from broker.events import WorkerReady
from protocol import wire
from supervisor import StartError, Supervisor, clock_us


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
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError):
        Supervisor(settings, "test")
    assert not list(temporary.iterdir())
    assert not (tmp_path / "u.sock").exists()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_the_time_that_a_start_takes_is_no_standstill(settings: Settings, temporary: Path) -> None:
    daemon = Supervisor(settings, "test")
    with daemon._undo:
        assert daemon._sweep_timer.next_sweep > daemon._started


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
            assert daemon._core.report()["counters"]["lost_requests"] == 1
        finally:
            daemon._manager.end()
    assert "create" in (tmp_path / "state" / "in-doubt.jsonl").read_text()


def test_a_worker_that_is_stopped_and_late_is_ended_once(settings: Settings, temporary: Path) -> None:
    daemon = Supervisor(settings, "test")
    with daemon._undo:
        manager = daemon._manager
        process = manager.start("read", 0.0)
        try:
            process._signal(supervisor.signal.SIGSTOP)
            failing: list[tuple[bytes, str]] = []
            while not failing:
                failing = manager.find_failing(1.0, lambda identity: False)
            assert manager.find_failing(1e9, lambda identity: False) == [(process.identity, "is stopped")]
        finally:
            manager.end()
