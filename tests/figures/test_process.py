"""P14, P15: the figures' process serves what the daemon reports; whatever becomes of it, the daemon's callers do not
notice, and it does not outlive the daemon."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.support.callers import HEIGHT, OUTPUT, txid
from tests.support.daemon import Daemon, End, running_daemon
from tests.support.figures_process import FIGURES, address_of, fetch, fetch_report, pid_of
from tests.support.patience import until


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running_daemon(tmp_path_factory.mktemp("figures"), FIGURES, "lmdb") as running:
        running.wait_for_workers()
        until(lambda: fetch(address_of(running), "/metrics"))
        yield running


class Calls:
    """Callers that ask, one after the other, until they are told to stop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(first,)) for first in range(4)]
        self.answered = [0] * len(self._threads)
        self.failed: list[Exception] = []

    def _ask(self, caller: int) -> None:
        with self._daemon.client(timeout=30) as client:
            while not self._ended.is_set():
                try:
                    client.create_partial(os.urandom(32), OUTPUT, block_height=HEIGHT)
                except Exception as error:
                    self.failed.append(error)
                self.answered[caller] += 1

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Each caller is answered before, and again afterwards; none fails."""
        for thread in self._threads:
            thread.start()
        try:
            self.go_on()
            yield
            self.go_on()
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join()
        assert self.failed == []

    def go_on(self) -> None:
        """Waits until each is answered, some times more."""
        before = list(self.answered)
        until(lambda: all(now >= then + 5 for now, then in zip(self.answered, before, strict=True)), within=60)


def samples(text: str) -> dict[str, float]:
    """Those without labels."""
    return {sample.name: sample.value for family in parse(text) for sample in family.samples if not sample.labels}


def test_it_serves_what_the_daemon_reports(daemon: Daemon) -> None:
    address = address_of(daemon)
    with daemon.client() as client:
        client.create_partial(txid(1), OUTPUT, block_height=HEIGHT)
    # A daemon that is starved for two seconds is not up meanwhile.
    until(lambda: fetch(address, "/health/ready") == (200, "ready\n"), within=60)
    until(lambda: fetch(address, "/health/live")[0] == 200, within=60)
    until(lambda: is_up(address), within=60)
    report = until(lambda: reported(address), within=60)
    assert report["pid"] == daemon.process.pid
    assert report["metrics"] == "{}:{}".format(*address)
    assert "<title>utxod</title>" in fetch(address, "/")[1]


def test_killed_it_is_replaced_at_the_same_port_and_no_caller_notices(daemon: Daemon) -> None:
    address, first = address_of(daemon), pid_of(daemon)
    with Calls(daemon).under_way():
        os.kill(first, signal.SIGKILL)
        daemon.log.expect(f"figures {first} is gone")
        until(lambda: is_up(address), within=60)
    assert pid_of(daemon) != first


def test_stopped_only_who_asks_it_waits(daemon: Daemon) -> None:
    address, pid = address_of(daemon), pid_of(daemon)
    with Calls(daemon).under_way():
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
            with pytest.raises(TimeoutError):
                fetch(address, "/metrics", timeout=0.5)
            # More than fit into the queue of the listening socket.
            crowd = [socket.socket() for _ in range(200)]
            for each in crowd:
                each.setblocking(False)
                each.connect_ex(address)
            daemon.wait_until(lambda status: status["pools"]["write"]["workers"])
            for each in crowd:
                each.close()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert until(lambda: answered(address), within=60)
    assert pid_of(daemon) == pid


def is_up(address: tuple[str, int]) -> bool:
    status, text = fetch(address, "/metrics")
    assert status == 200
    return samples(text)["utxod_up"] == 1


def reported(address: tuple[str, int]) -> dict[str, Any]:
    """Empty where the daemon did not answer in time."""
    report = fetch_report(address)
    return {} if "error" in report else report


def answered(address: tuple[str, int]) -> bool:
    try:
        return fetch(address, "/health/ready")[0] == 200
    except OSError:  # it has to turn away the crowd first
        return False


def test_a_daemon_that_stands_still_is_up_no_more_and_nothing_stale_is_served(daemon: Daemon) -> None:
    address = address_of(daemon)
    with daemon.stopped():
        until(lambda: fetch(address, "/health/live")[0] == 503, within=60)
        assert fetch(address, "/health/ready")[0] == 503
        assert set(samples(fetch(address, "/metrics")[1])) == {"utxod_up"}
        silent = fetch_report(address)
        assert "report" not in silent
        assert silent["error"]
    until(lambda: fetch(address, "/health/live")[0] == 200, within=60)


def test_it_ends_with_the_daemon_that_is_killed(tmp_path: Path) -> None:
    with running_daemon(tmp_path, FIGURES, "lmdb") as own:
        end = End(pid_of(own))
        own.kill()
        assert end.wait(60)
