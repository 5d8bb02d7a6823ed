"""P14: where descriptors run out newcomers wait, those who are in are served, and nothing ends the daemon."""

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator

import pytest
import zmq
from running import Daemon, Raw, Start, until

from protocol.client import Client

LIMIT = 128
CROWD = 150
RESERVE = 24  # at least
FULL = r"no descriptors are left for newcomers at"


def limit(daemon: Daemon, soft: int | None = LIMIT) -> None:
    """After it has raised its limit: as where the hard one was so low. None puts it back."""
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (hard if soft is None else soft, hard))


@contextlib.contextmanager
def crowd(address: str) -> "Iterator[list[zmq.Socket[bytes]]]":
    """Submitters that come all at once; more than there are descriptors for."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets = []
    for _ in range(CROWD):
        sockets.append(context.socket(zmq.DEALER))
        sockets[-1].connect(address)
    try:
        yield sockets
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("kind", ["ipc:///", "tcp://127.0.0.1", "tcp://localhost"])
def test_one_submitter_too_many_waits_and_the_others_are_served(start: Start, kind: str) -> None:
    daemon = start(None, "--listen", "tcp://127.0.0.1:0", "--listen", "tcp://localhost:0")
    daemon.wait_for_workers()
    address = next(one for one in daemon.status()["listen"] if one.startswith(kind))
    limit(daemon)
    with Client(daemon.endpoint) as before:
        before.status()
        with crowd(address):
            daemon.log.expect(FULL)
            assert before.get_many([bytes(32)])[0].code == "TX_NOT_FOUND"
            until(lambda: daemon.descriptors() <= LIMIT - RESERVE)
        with Client(address) as after:
            assert after.get_many([bytes(32)])[0].code == "TX_NOT_FOUND"


def test_newcomers_at_a_name_wait_while_few_are_left(start: Start) -> None:
    """What comes in there can't be bounded."""
    name = f"ipc://@utxod-test-{os.getpid()}"
    daemon = start(None, "--listen", name)
    daemon.wait_for_workers()
    limit(daemon)
    with crowd(name), Client(daemon.endpoint) as before:
        daemon.log.expect(FULL)
        assert before.get_many([bytes(32)])[0].code == "TX_NOT_FOUND"
        limit(daemon, None)
        with Client(name) as after:
            assert after.get_many([bytes(32)])[0].code == "TX_NOT_FOUND"


def test_newcomers_are_let_in_when_others_have_left(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    limit(daemon)
    with crowd(daemon.endpoint) as first:
        daemon.log.expect(FULL)
        waiting = Raw(daemon.endpoint)
        for one in first:
            one.close(linger=0)
        assert waiting.greet().epoch == daemon.status()["epoch"]
        waiting.close()


def test_workers_are_replaced_from_the_reserve(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    limit(daemon)
    with daemon.client() as client:
        client.status()
        with crowd(daemon.endpoint):
            daemon.log.expect(FULL)
            for process in client.status()["processes"]:
                os.kill(process["pid"], signal.SIGKILL)
            until(lambda: all(pool["workers"] for pool in client.status()["pools"].values()), within=20)


def test_the_room_is_told(start: Start) -> None:
    daemon = start()
    daemon.log.expect(r"room for some \d+ submitters: the limit of descriptors is \d+ \(it was \d+\)")


def test_nobody_who_left_leaves_a_descriptor(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    at_first = daemon.descriptors()
    with crowd(daemon.endpoint):
        until(lambda: daemon.descriptors() >= at_first + CROWD)
    until(lambda: daemon.descriptors() <= at_first)


def test_those_who_connect_and_leave_at_once_are_no_obstacle(daemon: Daemon) -> None:
    for _ in range(200):
        newcomer = socket.socket(socket.AF_UNIX)
        newcomer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            newcomer.connect(str(daemon.socket))
        newcomer.close()
    daemon.wait_for_workers()
