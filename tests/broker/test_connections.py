"""Submitters are counted by the events of their sockets, and libzmq's thread never waits for who counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from broker.transport.connections import Connections
from tests.support.patience import SOON, until

Context = zmq.Context[zmq.Socket[bytes]]
CROWD = 40


@pytest.fixture
def entered(tmp_path: Path) -> "Iterator[zmq.Socket[bytes]]":
    context: Context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{tmp_path}/front")
    yield router
    context.destroy(linger=0)


@pytest.fixture
def clients() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.destroy(linger=0)


def connect(clients: Context, entered: "zmq.Socket[bytes]", count: int) -> "list[zmq.Socket[bytes]]":
    address = entered.getsockopt_string(zmq.LAST_ENDPOINT)
    sockets = [clients.socket(zmq.DEALER) for _ in range(count)]
    for socket in sockets:
        socket.linger = 0
        socket.connect(address)
    return sockets


def count(connections: Connections) -> int:
    connections.take()
    return connections.count


def test_those_who_are_connected_are_counted(entered: "zmq.Socket[bytes]", clients: Context) -> None:
    connections = Connections(entered)
    sockets = connect(clients, entered, CROWD)
    until(lambda: count(connections) == CROWD)
    for socket in sockets[5:]:
        socket.close()
    until(lambda: count(connections) == 5)
    connections.close()


def expect_service(clients: Context, entered: "zmq.Socket[bytes]") -> None:
    [newcomer] = connect(clients, entered, 1)
    newcomer.send(b"message")
    assert entered.poll(SOON * 1000)


def test_what_nobody_takes_holds_nobody_up(entered: "zmq.Socket[bytes]", clients: Context) -> None:
    """More events than a queue of ZeroMQ's holds as a rule, which is 2,000."""
    connections = Connections(entered)
    for _ in range(1_100 // CROWD + 1):
        for socket in connect(clients, entered, CROWD):
            socket.send(b"message")
            assert entered.poll(SOON * 1000)
            entered.recv_multipart()
            socket.close()
    expect_service(clients, entered)
    connections.close()


def test_those_who_go_when_nobody_counts_any_more_hold_nobody_up(
    entered: "zmq.Socket[bytes]", clients: Context
) -> None:
    connections = Connections(entered)
    sockets = connect(clients, entered, CROWD)
    until(lambda: count(connections) == CROWD)
    connections.close()
    for socket in sockets:
        socket.close()
    expect_service(clients, entered)
