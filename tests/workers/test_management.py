"""The daemon's side of its workers: rolling restarts, chores."""

import os
import time
from collections.abc import Iterator

import pytest
import zmq

from broker.transport.worker_links import WorkerLinks
from workers.management.housekeeping import Housekeeping
from workers.management.manager import WorkerManager
from workers.management.process import WorkerProcess, WorkerSettings
from workers.management.rolling_restart import RollingRestart


@pytest.fixture
def manager() -> Iterator[WorkerManager]:
    settings = WorkerSettings("", -1, "null:", os.getpid(), 1.0, 1.0, 288)
    links = WorkerLinks(zmq.Poller())
    manager = WorkerManager(settings, {"read": 1}, links=links, watch=lambda _: None, unwatch=lambda _: None)
    yield manager
    manager.end()
    links.close()


@pytest.fixture
def process(manager: WorkerManager) -> WorkerProcess:
    return manager.start("read", time.monotonic())


# ---- a rolling restart


class Restarting:
    """ready: those that the core knows. retired: those that were told to end, in order."""

    def __init__(self, manager: WorkerManager) -> None:
        self.ready: set[bytes] = set()
        self.retired: list[bytes] = []
        self.restart = RollingRestart(manager, self.ready.__contains__, self._retire)

    def _retire(self, process: WorkerProcess) -> None:
        process.leave(time.monotonic())
        self.retired.append(process.identity)


def end(manager: WorkerManager, process: WorkerProcess) -> None:
    """It is killed, and its end is noticed."""
    process.kill()
    assert manager.reap(process.descriptor) == (process, "was ended by SIGKILL")


def test_a_worker_is_retired_when_its_replacement_is_ready_and_one_at_a_time(manager: WorkerManager) -> None:
    first, second = (manager.start("read", time.monotonic()) for _ in range(2))
    restarting = Restarting(manager)
    restarting.ready |= {first.identity, second.identity}
    restarting.restart.begin()
    for replaced in (1, 2):
        restarting.restart.go_on(time.monotonic())
        restarting.restart.go_on(time.monotonic())
        assert len(restarting.retired) == replaced - 1
        [*_, newest] = manager.processes
        restarting.ready.add(newest)
        restarting.restart.go_on(time.monotonic())
        assert len(restarting.retired) == replaced
    assert set(restarting.retired) == {first.identity, second.identity}
    assert len(manager.processes) == 4


def test_a_worker_whose_replacement_dies_stays(
    manager: WorkerManager, process: WorkerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    restarting = Restarting(manager)
    restarting.restart.begin()
    restarting.restart.go_on(time.monotonic())
    [_, replacement] = manager.processes.values()
    end(manager, replacement)
    restarting.restart.go_on(time.monotonic())
    assert restarting.retired == []
    assert f"read worker {process.pid} could not be replaced" in caplog.text
    assert list(manager.processes.values()) == [process]


def test_a_worker_that_is_to_end_anyhow_is_not_said_to_stay_where_its_replacement_dies(
    manager: WorkerManager, process: WorkerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    restarting = Restarting(manager)
    restarting.restart.begin()
    restarting.restart.go_on(time.monotonic())
    [_, replacement] = manager.processes.values()
    process.leave(time.monotonic())
    end(manager, replacement)
    restarting.restart.go_on(time.monotonic())
    assert "could not be replaced" not in caplog.text


def test_a_worker_that_is_gone_before_its_turn_is_not_replaced(manager: WorkerManager, process: WorkerProcess) -> None:
    restarting = Restarting(manager)
    restarting.restart.begin()
    end(manager, process)
    restarting.restart.go_on(time.monotonic())
    assert not manager.processes


# ---- scaling, and chores


def test_of_a_pool_that_is_scaled_the_newest_are_too_many_but_for_a_replacement(manager: WorkerManager) -> None:
    workers = [manager.start("read", time.monotonic()) for _ in range(3)]
    manager.scale("read", 3)
    assert manager.surplus(None) == []
    manager.scale("read", 1)
    assert manager.counts == {"read": 1}
    assert manager.surplus(None) == workers[1:]
    assert manager.surplus(workers[2].identity) == workers[1:2]


def test_a_chore_that_fails_ends_no_other_and_is_told_of_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    def fails() -> None:
        done.append("fails")
        raise ZeroDivisionError

    housekeeping = Housekeeping()
    for _ in range(3):
        housekeeping.do(fails, lambda: done.append("goes on"))
    assert done == ["fails", "goes on"] * 3
    assert caplog.text.count("a defect in the housekeeping") == 1
