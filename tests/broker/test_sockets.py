"""What the transport reads in one turn is bounded, whatever a submitter sends."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from broker.actions import Send
from broker.core import Core
from broker.settings import BrokerSettings
from broker.transport.sockets import Transport
from protocol import wire

STEP_US = 1_000
FRAMES = 20_000


class Clock:
    """Goes on by a millisecond each time it is read, so that work is measured by what it asks."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += STEP_US
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def core() -> Core:
    return Core(BrokerSettings(), 1, 0)


@pytest.fixture
def transport(tmp_path: Path, core: Core, clock: Clock) -> Iterator[Transport]:
    transport = Transport(
        core,
        [f"ipc://{tmp_path / 'front'}"],
        f"ipc://{tmp_path / 'back'}",
        max_body_bytes=1 << 20,
        reserve=0,
        clock=clock,
        on_condemn=lambda identity, reason: None,
        on_in_doubt=lambda doubt: None,
        on_report=dict,
    )
    try:
        yield transport
    finally:
        transport.close()


def test_a_turn_reads_no_longer_than_its_time(transport: Transport, clock: Clock) -> None:
    """Neither many messages nor one of many frames, which is dropped piece by piece."""
    hello = [wire.pack_prefix(wire.HELLO, bytes(wire.REQUEST_ID_BYTES))]
    with zmq.Context() as context, context.socket(zmq.DEALER) as submitter:
        submitter.linger = 0
        submitter.connect(transport.addresses[0])
        for message in (*[hello] * 100, [b"nonsense", *[b""] * FRAMES], hello):
            submitter.send_multipart(message)
        answers = 0
        turns = []
        while answers <= 100:
            before = clock.now
            transport.turn(1)
            turns.append(clock.now - before)
            while submitter.poll(0):
                submitter.recv_multipart()
                answers += 1
    assert sum(turns) > FRAMES // 100 * STEP_US
    assert max(turns) < 20 * STEP_US


def test_a_large_answer_of_our_own_starts_no_thread(transport: Transport, core: Core) -> None:
    """As pyzmq does for bytes that it is not to copy: a daemon that can have no thread would end of it."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as submitter:
        submitter.linger = 0
        submitter.routing_id = b"submitter"
        submitter.connect(transport.addresses[0])
        submitter.send_multipart([wire.pack_prefix(wire.HELLO, bytes(wire.REQUEST_ID_BYTES))])
        while not submitter.poll(0):
            transport.turn(1)
        submitter.recv_multipart()
        before = len(os.listdir("/proc/self/task"))
        core.actions.append(Send((0, b"submitter"), [bytes(1 << 20)], 1))
        transport.flush()
        assert len(submitter.recv_multipart()[0]) == 1 << 20
        assert len(os.listdir("/proc/self/task")) == before
