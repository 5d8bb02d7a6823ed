"""A worker's loop: what it does with each of the broker's messages."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq

from protocol.worker_wire import (
    DISPATCH,
    PROBE,
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

    def __init__(self, socket: "zmq.Socket[bytes]", worker: "Future[None]") -> None:
        self._socket = socket
        self.worker = worker

    def receive(self) -> Any:
        assert self._socket.poll(10_000)
        identity, *frames = self._socket.recv_multipart()
        assert identity == b"worker"
        return unpack_from_worker(frames)

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart([b"worker", *frames])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    store = open_store("null:")
    address = f"ipc://{tmp_path / 'w'}"
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket, ThreadPoolExecutor(1) as threads:
        socket.linger = 0
        socket.bind(address)
        executor = Executor({"nothing": Operation(lambda _: None)}, store, budget=1.0, retention=288)
        worker = threads.submit(serve, executor, identity=b"worker", backend=address, pool="read")
        broker = Broker(socket, worker)
        assert isinstance(broker.receive(), ReadyMessage)
        yield broker
        if not worker.done():
            broker.send(STOP)
    store.close()


def test_a_probe_is_ignored_and_stop_ends_it(broker: Broker) -> None:
    broker.send(PROBE)
    broker.send(DISPATCH, pack_dispatch(1, "nothing", []))
    answer = broker.receive()
    assert isinstance(answer, DoneMessage)
    assert answer.number == 1
    broker.send(PROBE)
    broker.send(STOP)
    assert broker.worker.result(10) is None


def test_a_message_that_is_none_of_the_brokers_ends_it_and_says_so(broker: Broker) -> None:
    broker.send(b"nonsense")
    with pytest.raises(WorkerWireError, match="nonsense"):
        broker.worker.result(10)
