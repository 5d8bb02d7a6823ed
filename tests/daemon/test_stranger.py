"""A worker that is no process of the daemon's: what it never answers is dealt with all the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from broker.scheduling import READ_POOL
from protocol.worker_wire import DISPATCH, pack_ready
from tests.support.callers import Callers
from tests.support.daemon import SHORT, Daemon, Start


@contextmanager
def stranger_at(daemon: Daemon, address: str) -> "Iterator[zmq.Socket[bytes]]":
    """A worker that has asked for work. Its connection is gone at the end."""
    daemon.wait_for_workers()
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        stranger.routing_id = b"stranger"
        stranger.connect(address)
        stranger.send_multipart(pack_ready(READ_POOL, 1))
        daemon.wait_until(lambda status: status["pools"][READ_POOL]["workers"] == 2)
        yield stranger


def expect_two_reads_served(daemon: Daemon) -> None:
    with daemon.client() as client, Callers(client) as callers:
        codes = [callers.get(number).result()[0] for number in range(2)]
    assert codes == ["TX_NOT_FOUND"] * 2
    assert daemon.status()["pools"][READ_POOL]["workers"] == 1


def test_a_worker_whose_connection_is_gone_is_lost_when_it_is_to_be_given_work(start: Start, tmp_path: Path) -> None:
    """Long before the execution limit."""
    address = f"ipc://{tmp_path}/workers.sock"
    daemon = start({"listen_workers": address, "broker.grace_seconds": 60})
    with stranger_at(daemon, address):
        pass
    expect_two_reads_served(daemon)


def test_a_worker_whose_end_nobody_would_notice_is_lost_at_the_execution_limit(start: Start, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/workers.sock"
    daemon = start({**SHORT, "listen_workers": address})
    with stranger_at(daemon, address) as stranger:
        expect_two_reads_served(daemon)
        assert stranger.poll(0)
        assert stranger.recv_multipart()[0] == DISPATCH
    daemon.log.expect("it is no process of this daemon's")
