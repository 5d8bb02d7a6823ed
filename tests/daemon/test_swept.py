"""P14: files in a temporary directory are swept away while the daemon runs; it makes them anew, or leaves what is
another's alone."""

import signal

import pytest

from tests.support.daemon import Daemon, Start

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


def test_a_daemon_that_ends_leaves_the_files_of_the_one_that_took_its_address(start: Start) -> None:
    first = start()
    with first.client() as of_first:
        of_first.status()
        with first.stopped():
            first.socket.unlink()
            first.socket.with_name("u.sock.lock").unlink()
            second = start()
        first.log.expect("something else is there now")
        assert of_first.status()["pid"] == first.process.pid
    first.signal(signal.SIGTERM)
    assert first.process.wait(30) == 0
    assert second.status()["pid"] == second.process.pid
    expect_served(second)
