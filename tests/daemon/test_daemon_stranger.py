"""A worker that is no process of the daemon's: what it never answers is dealt with all the same."""

from pathlib import Path

import zmq
from callers import Callers
from conftest import SHORT, Start

from protocol.dispatch import DISPATCH, pack_ready
from protocol.operations import READ_POOL


def test_a_worker_whose_connection_is_gone_is_lost_when_it_is_to_be_given_work(start: Start, tmp_path: Path) -> None:
    """Long before the execution limit."""
    address = f"ipc://{tmp_path}/workers.sock"
    daemon = start({"listen_workers": address, "broker.budget_seconds": 60})
    daemon.wait_for_workers()
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        stranger.routing_id = b"stranger"
        stranger.connect(address)
        stranger.send_multipart(pack_ready(READ_POOL, 1))
        daemon.wait_until(lambda status: status["pools"][READ_POOL]["workers"] == 2)
    with daemon.client() as client, Callers(client) as callers:
        codes = [callers.get(number).result()[0] for number in range(2)]
    assert codes == ["TX_NOT_FOUND"] * 2
    assert daemon.status()["pools"][READ_POOL]["workers"] == 1


def test_a_worker_whose_end_nobody_would_notice_is_lost_at_the_execution_limit(start: Start, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/workers.sock"
    daemon = start({**SHORT, "listen_workers": address})
    daemon.wait_for_workers()
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        stranger.routing_id = b"stranger"
        stranger.connect(address)
        stranger.send_multipart(pack_ready(READ_POOL, 1))
        daemon.wait_until(lambda status: status["pools"][READ_POOL]["workers"] == 2)
        with daemon.client() as client, Callers(client) as callers:
            codes = [callers.get(number).result()[0] for number in range(2)]
        assert stranger.poll(0)
        assert stranger.recv_multipart()[0] == DISPATCH
        assert codes == ["TX_NOT_FOUND"] * 2
        assert daemon.status()["pools"][READ_POOL]["workers"] == 1
    daemon.log.expect("it is no process of this daemon's")
