"""P14: where descriptors run out newcomers wait, those who are in are served, and nothing ends the daemon."""

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator

import pytest
import zmq

from protocol import Client
from tests.support.daemon import Daemon, Raw, Start
from tests.support.patience import until

LIMIT = 128
CROWD = 150
RESERVE = 24  # at least
FULL = "no descriptors are left for newcomers"


def limit(daemon: Daemon) -> None:
    """After it has raised its limit: as where the hard one was so low."""
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (LIMIT, hard))


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


@contextlib.contextmanager
def rush(address: str) -> Iterator[None]:
    """As many as the kernel lets wait, and that say nothing."""
    kind, _, where = address.partition("://")
    host, _, port = where.rpartition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(CROWD):
            newcomer = stack.enter_context(socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX))
            newcomer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                newcomer.connect((host, int(port)) if kind == "tcp" else where.replace("@", "\0"))
        yield


@pytest.mark.parametrize("kind", ["ipc:///", "ipc://@", "tcp://127.0.0.1", "tcp://localhost"])
def test_submitters_too_many_wait_and_the_others_are_served(start: Start, kind: str) -> None:
    others = [f"ipc://@utxod-test-{os.getpid()}", "tcp://127.0.0.1:0", "tcp://localhost:0"]
    daemon = start(None, *(argument for other in others for argument in ("--listen", other)))
    daemon.wait_for_workers()
    address = next(one for one in daemon.status()["listen"] if one.startswith(kind))
    limit(daemon)
    with daemon.client() as before:
        before.status()
        with daemon.stopped():
            rushing = contextlib.ExitStack()
            rushing.enter_context(rush(address))
        with rushing, crowd(address):
            daemon.log.expect(FULL)
            assert before.get_many([bytes(32)])[0].code == "TX_NOT_FOUND"
            until(lambda: daemon.descriptors() <= LIMIT - RESERVE)
        with Client(address, timeout=30) as after:
            assert after.get_many([bytes(32)])[0].code == "TX_NOT_FOUND"


def test_newcomers_are_let_in_when_others_have_left(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    limit(daemon)
    with crowd(daemon.endpoint) as first:
        daemon.log.expect(FULL)
        waiting = Raw(daemon.endpoint)
        for one in first:
            one.close(linger=0)
        assert waiting.handshake().epoch == daemon.status()["epoch"]
        waiting.close()


def test_workers_are_replaced_from_the_reserve(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    limit(daemon)
    with daemon.client() as client:
        client.status()
        with crowd(daemon.endpoint):
            daemon.log.expect(FULL)
            before = {process["pid"] for process in client.status()["processes"]}
            for pid in before:
                os.kill(pid, signal.SIGKILL)

            def are_replaced() -> bool:
                status = client.status()
                new = {process["pid"] for process in status["processes"]}
                return not before & new and all(pool["workers"] for pool in status["pools"].values())

            until(are_replaced, within=60)


def test_the_room_is_told(start: Start) -> None:
    daemon = start()
    daemon.log.expect(r"room for some \d+ submitters: the limit of descriptors is \d+ \(it was \d+\)")


def test_nobody_who_left_leaves_a_descriptor(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    at_first = daemon.descriptors()  # the client that has looked for workers may not be quite gone
    with crowd(daemon.endpoint):
        until(lambda: daemon.descriptors() >= at_first + CROWD - 2)
    until(lambda: daemon.descriptors() <= at_first)


def test_those_who_connect_and_leave_at_once_are_no_obstacle(daemon: Daemon) -> None:
    for _ in range(200):
        newcomer = socket.socket(socket.AF_UNIX)
        newcomer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            newcomer.connect(str(daemon.socket))
        newcomer.close()
    daemon.wait_for_workers()
