"""A worker whose link fails, though it lives, or outlives it: it is replaced, and nobody waits for it."""

import struct
from contextlib import closing, suppress

import psutil
import pytest
import zmq

from broker.scheduling import READ_POOL
from broker.transport.worker_links import WorkerLinks
from protocol.worker_link import WorkerLink
from tests.support.daemon import Daemon
from tests.support.patience import until
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


@pytest.mark.parametrize(
    ("nonsense", "said"),
    [(b"\xff" * 20, "a message of 4294967295 frames"), (bytes(100_000), "more than 64 messages at once")],
    ids=["ones", "zeros"],
)
def test_a_worker_that_sends_what_can_be_no_message_is_replaced(daemon: Daemon, nonsense: bytes, said: str) -> None:
    daemon.wait_for_workers()
    (worker,) = daemon.workers(READ_POOL)
    with closing(socket_of(worker)) as link:
        with suppress(OSError):  # it is cut off at the first of it
            link.sendall(nonsense)
        expect_replaced(daemon, worker)
    daemon.log.expect(said)


def test_a_worker_that_claims_a_long_message_takes_neither_time_nor_memory_of_the_daemon(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (worker,) = daemon.workers(READ_POOL)
    process = psutil.Process(daemon.process.pid)
    before = process.memory_info().rss
    with closing(socket_of(worker)) as link, daemon.client() as client:
        link.sendall(struct.pack("=2I", 1, 1 << 30) + b"begin")
        for _ in range(3):  # it has been read by the second, at the latest
            client.status()
    assert process.memory_info().rss - before < 1 << 26


def test_what_a_worker_has_left_behind_can_not_add_to_its_last_words() -> None:
    """A process that it has forked, and that outlives it: it would keep the daemon reading."""
    links = WorkerLinks(zmq.Poller())
    with closing(links), closing(WorkerLink(links.connect(b"worker"))) as heir:
        heir.send([b"last words"])
        got = []
        for frames in links.receive_rest(b"worker"):
            got.append(frames)
            with pytest.raises(BrokenPipeError):
                heir.send([b"more"])
        assert got == [[b"last words"]]
