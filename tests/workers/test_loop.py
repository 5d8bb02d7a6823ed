"""A worker's loop: what it does with each of the broker's messages."""

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from protocol.worker_link import WorkerLink
from protocol.worker_wire import (
    DISPATCH,
    STOP,
    DoneMessage,
    ReadyMessage,
    WorkerWireError,
    pack_dispatch,
    unpack_from_worker,
)
from store import open_store
from workers.runtime.executor import Executor, Operation
from workers.runtime.loop import serve


class Broker:
    """A worker's other side. worker: ends when the worker does."""

    def __init__(self, link: WorkerLink, worker: "Future[None]") -> None:
        self.link = link
        self.worker = worker

    def receive(self) -> Any:
        [frames] = self.link.receive()
        return unpack_from_worker(frames)

    def send(self, *frames: bytes) -> None:
        self.link.send(frames)


@pytest.fixture
def broker() -> Iterator[Broker]:
    store = open_store("null:")
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with closing(WorkerLink(ours)) as link, ThreadPoolExecutor(1) as threads:
        executor = Executor({"nothing": Operation(lambda _: None)}, store, budget=1.0, retention=288)
        broker = Broker(link, threads.submit(serve, executor, WorkerLink(theirs), "read"))
        assert isinstance(broker.receive(), ReadyMessage)
        yield broker
        link.close()
    store.close()


def test_it_answers_until_stop_ends_it(broker: Broker) -> None:
    broker.send(DISPATCH, pack_dispatch(1, "nothing", []))
    answer = broker.receive()
    assert isinstance(answer, DoneMessage)
    assert answer.number == 1
    broker.send(STOP)
    assert broker.worker.result(10) is None


@pytest.mark.parametrize("held", [[], [DISPATCH, pack_dispatch(1, "nothing", [])]], ids=["idle", "busy"])
def test_it_ends_with_the_broker(broker: Broker, held: list[bytes]) -> None:
    if held:
        broker.send(*held)
    broker.link.close()
    assert broker.worker.result(10) is None


def test_a_message_that_is_none_of_the_brokers_ends_it_and_says_so(broker: Broker) -> None:
    broker.send(b"nonsense")
    with pytest.raises(WorkerWireError, match="nonsense"):
        broker.worker.result(10)
