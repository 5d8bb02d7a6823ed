"""A worker whose link fails, though it lives: it is replaced, and nobody waits for it."""

from contextlib import closing

from broker.scheduling import READ_POOL
from tests.support.daemon import Daemon, until
from tests.support.worker_side import socket_of


def expect_replaced(daemon: Daemon, worker: int) -> None:
    until(lambda: worker not in daemon.workers(READ_POOL))
    daemon.wait_for_workers()
    with daemon.client() as client:
        assert client.get_many([bytes(32)])[0].code == "TX_NOT_FOUND"


def test_a_worker_whose_link_is_cut_is_replaced(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (worker,) = daemon.workers(READ_POOL)
    with closing(socket_of(worker)) as link:
        link.shutdown(2)
    expect_replaced(daemon, worker)


def test_a_worker_that_sends_what_can_be_no_message_is_replaced(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (worker,) = daemon.workers(READ_POOL)
    with closing(socket_of(worker)) as link:
        link.sendall(b"\xff" * 20)
        expect_replaced(daemon, worker)
    daemon.log.expect("a message of 4294967295 frames")
