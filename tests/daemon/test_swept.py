"""P14: files in a temporary directory are swept away while the daemon runs; it makes them anew, or leaves what is
another's alone."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import Callers
from tests.support.daemon import Daemon, Start
from tests.support.patience import until
from tests.support.seven_operations import NOTHING_ENDS_IT
from utxod.commands import cli

GONE = bytes(32)


def expect_served(daemon: Daemon) -> None:
    with daemon.client() as client:
        assert client.get_many([GONE])[0].code == "TX_NOT_FOUND"


@pytest.mark.parametrize("files", [["u.sock"], ["u.sock.lock"], ["u.sock", "u.sock.lock"]], ids=" ".join)
def test_an_address_that_was_swept_away_is_there_again(daemon: Daemon, files: list[str]) -> None:
    with daemon.client() as before:
        before.status()
        for file in files:
            (daemon.directory / file).unlink()
        daemon.log.expect("was gone, and is there again")
        expect_served(daemon)
        assert before.get_many([GONE])[0].code == "TX_NOT_FOUND"


def test_orders_come_in_again_where_the_state_was_swept_away(daemon: Daemon) -> None:
    daemon.status()
    swept = (daemon.directory / "state").rename(daemon.directory / "swept")  # at once: somebody writes there
    shutil.rmtree(swept, ignore_errors=True)
    daemon.log.expect("the socket for orders was not there, and is now")
    daemon.wait_until(lambda status: Path(status["administration"]).exists())
    ordered = CliRunner().invoke(cli, ["log-level", "debug", "--connect", daemon.endpoint])
    assert (ordered.exit_code, ordered.output) == (0, "debug, was info\n")


@EMBEDDED_ONLY
def test_no_worker_puts_an_empty_set_in_the_place_of_one_that_is_gone(start: Start) -> None:
    daemon = start(NOTHING_ENDS_IT)
    daemon.wait_for_workers()
    with daemon.client() as client, Callers(client) as callers:
        assert callers.create(1).result()[0] == "OK"
        store, elsewhere = daemon.directory / "store", daemon.directory / "elsewhere"
        store.rename(elsewhere)
        (reader,) = daemon.workers("read")
        os.kill(reader, signal.SIGKILL)
        daemon.log.expect("the store can't be opened: .*there is no set. There was one when the daemon started")
        assert not store.exists()
        elsewhere.rename(store)
        daemon.wait_for_workers()
        assert callers.get(1).result()[0] == "OK"


def test_a_daemon_that_ends_leaves_the_files_of_the_one_that_took_its_address(start: Start) -> None:
    first = start()
    with first.client() as of_first:
        of_first.status()
        with first.stopped():
            first.socket.unlink()
            first.socket.with_name("u.sock.lock").unlink()
            second = start(ready=False)
            until(first.socket.exists)  # for longer, who was connected would take the first for gone
        first.log.expect("something else is there now")
        second.wait_until_it_serves()
        assert of_first.status()["pid"] == first.process.pid
    first.signal(signal.SIGTERM)
    assert first.process.wait(60) == 0
    assert second.status()["pid"] == second.process.pid
    expect_served(second)
