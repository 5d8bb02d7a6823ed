"""A worker's loop: what it does with each of the broker's messages."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from protocol import wire
from protocol.worker_link import WorkerLink
from protocol.worker_wire import (
    DISPATCH,
    LEVEL,
    STOP,
    Assignment,
    DoneMessage,
    ReadyMessage,
    WorkerWireError,
    pack_dispatch,
    unpack_from_worker,
)
from store import Read, Result, StoreError, open_store
from tests.support.patience import SOON
from tests.support.wrapped import Wrapped
from workers import log_lines
from workers.runtime.context import DispatchContext
from workers.runtime.executor import Executor, Operation
from workers.runtime.in_hand import InHand
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


STORE_SECONDS = 0.01


class Slow(Wrapped):
    """Its calls take a while, and fail."""

    def batch_operate(self, *arguments: Any) -> list[Result]:
        time.sleep(STORE_SECONDS)
        raise StoreError("slow, and to no avail", in_doubt=False)


def complete_twice(context: DispatchContext) -> None:
    context.try_operate([Read(bytes(32))])
    for _ in range(2):
        for index in range(len(context.batch)):
            context.batch.complete(index, True)


@pytest.fixture
def broker() -> Iterator[Broker]:
    store = open_store("null:")
    ours, theirs = socket.socketpair()
    ours.settimeout(SOON)
    with closing(WorkerLink(ours)) as link, ThreadPoolExecutor(1) as threads:
        operations = {"nothing": Operation(lambda _: None), "twice": Operation(complete_twice)}
        executor = Executor(operations, Slow(store), budget=30.0, retention=288)
        broker = Broker(link, threads.submit(serve, executor, WorkerLink(theirs), "read", InHand()))
        assert isinstance(broker.receive(), ReadyMessage)
        yield broker
        link.close()
    store.close()


def test_it_answers_until_stop_ends_it(broker: Broker) -> None:
    broker.send(DISPATCH, pack_dispatch(1, "nothing", [], b""))
    answer = broker.receive()
    assert isinstance(answer, DoneMessage)
    assert answer.number == 1
    broker.send(STOP)
    assert broker.worker.result(SOON) is None


def test_it_tells_what_the_store_took_and_what_was_completed_twice(broker: Broker) -> None:
    body = wire.pack_body([bytes(32), bytes(32)])
    broker.send(DISPATCH, pack_dispatch(1, "twice", [Assignment(1 << 62, 2, 0)], bytes(16)), body)
    answer = broker.receive()
    assert isinstance(answer, DoneMessage)
    assert answer.ignored == 2
    assert answer.store_us >= STORE_SECONDS * 1e6
    assert answer.dropped == 0


def test_it_logs_by_the_level_that_it_is_told(broker: Broker) -> None:
    before = log_lines.level()
    try:
        for level in ("error", "debug"):
            broker.send(LEVEL, level.encode())
            broker.send(DISPATCH, pack_dispatch(1, "nothing", [], b""))
            broker.receive()
            assert log_lines.level() == level
    finally:
        log_lines.set_level(before)


@pytest.mark.parametrize("held", [[], [DISPATCH, pack_dispatch(1, "nothing", [], b"")]], ids=["idle", "busy"])
def test_it_ends_with_the_broker(broker: Broker, held: list[bytes]) -> None:
    if held:
        broker.send(*held)
    broker.link.close()
    assert broker.worker.result(SOON) is None


def test_a_message_that_is_none_of_the_brokers_ends_it_and_says_so(broker: Broker) -> None:
    broker.send(b"nonsense")
    with pytest.raises(WorkerWireError, match="nonsense"):
        broker.worker.result(SOON)
