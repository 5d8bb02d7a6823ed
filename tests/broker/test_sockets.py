"""What the transport reads in one turn is bounded, whatever a submitter sends; and it says what it could not send."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
import zmq

from broker.transport.sockets import Frontend, Linked, Readable, Transport, shared
from protocol.client.connection import HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
from protocol.worker_link import WorkerLink
from tests.support.patience import until

STEP_US = 1_000
FRAMES = 20_000
WORKER = b"worker"
# A DEALER's first words.
PREAMBLE = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


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
def transport(tmp_path: Path, clock: Clock) -> Iterator[Transport]:
    transport = Transport(
        [f"ipc://{tmp_path / 'front'}"],
        max_body_bytes=1 << 20,
        reserve=0,
        clock_us=clock,
    )
    try:
        yield transport
    finally:
        transport.close()


@pytest.fixture
def dealer() -> "Iterator[zmq.Socket[bytes]]":
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.routing_id = b"dealer"
        yield dealer


def wait_for(transport: Transport, source: Frontend | Linked | Readable) -> None:
    while source not in list(transport.poll(1)):
        pass


def test_a_turn_reads_no_longer_than_its_time(transport: Transport, clock: Clock, dealer: "zmq.Socket[bytes]") -> None:
    """Neither many messages nor one of many frames, of which no more is read than a request has, and one: the rest is
    dropped piece by piece."""
    dealer.connect(transport.addresses[0])
    for message in (*[[b"message"]] * 100, [b"nonsense", *[b""] * FRAMES], [b"last"]):
        dealer.send_multipart(message)
    messages: list[int] = []
    turns = []
    while len(messages) <= 101:
        before = clock.now
        for source in transport.poll(1):
            assert isinstance(source, Frontend)
            messages += [len(frames) for _, frames, _ in transport.receive_from_submitters(source)]
        turns.append(clock.now - before)
    assert messages == [1] * 100 + [4, 1]
    assert transport.excess == 1
    assert sum(turns) > FRAMES // 100 * STEP_US
    assert max(turns) < 20 * STEP_US


def test_a_large_answer_of_our_own_starts_no_thread(transport: Transport, dealer: "zmq.Socket[bytes]") -> None:
    """As pyzmq does for bytes that it is not to copy: a daemon that can have no thread would end of it."""
    dealer.connect(transport.addresses[0])
    dealer.send(b"hello")
    wait_for(transport, Frontend(0))
    [(submitter, frames, _)] = transport.receive_from_submitters(Frontend(0))
    assert (submitter, frames) == ((0, b"dealer"), [b"hello"])
    before = set(os.listdir("/proc/self/task"))
    assert transport.send((0, b"dealer"), [bytes(1 << 20)])
    assert len(dealer.recv_multipart()[0]) == 1 << 20
    assert set(os.listdir("/proc/self/task")) <= before


def test_what_is_sent_to_many_is_held_once_however_many_do_not_read_it(
    transport: Transport, dealer: "zmq.Socket[bytes]"
) -> None:
    dealer.rcvhwm, dealer.rcvbuf = 1, 1 << 12
    dealer.connect(transport.addresses[0])
    dealer.send(b"ask")
    wait_for(transport, Frontend(0))
    [(submitter, _, _)] = transport.receive_from_submitters(Frontend(0))
    report, before = shared(bytes(1 << 16)), memory()
    waiting = sum(transport.send(submitter, [b"prefix", report]) for _ in range(9_000))
    assert waiting == 9_000
    assert memory() - before < (waiting << 16) / 10


def memory() -> int:
    """Bytes of this process."""
    return psutil.Process().memory_info().rss


def test_what_a_submitter_that_is_not_there_was_to_be_sent_is_told_of(transport: Transport) -> None:
    assert not transport.send((0, b"nobody"), [b"answer"])


def test_who_lets_some_heartbeats_pass_is_not_gone(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that gets no processor for a while loses none of what it has asked."""
    monkeypatch.setattr("broker.transport.sockets._HEARTBEAT_MS", 20)
    transport = Transport([f"ipc://{tmp_path / 'front'}"], max_body_bytes=1 << 20, reserve=0, clock_us=clock)
    with closing(transport), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / "front"))
        silent.setblocking(False)
        silent.sendall(PREAMBLE + READY)
        said = bytearray()

        def has_been_asked(times: int) -> bool:
            list(transport.poll(1))  # which lets it in
            with suppress(BlockingIOError):
                said.extend(silent.recv(4096))
            return said.count(b"PING") >= times

        until(lambda: has_been_asked(5))
        silent.sendall(b"\x00\x05hello")
        wait_for(transport, Frontend(0))
        [(_, frames, _)] = transport.receive_from_submitters(Frontend(0))
        assert frames == [b"hello"]


def test_it_is_as_patient_with_a_submitter_as_the_clients_are_with_the_daemon(transport: Transport) -> None:
    (frontend,) = transport._frontends
    assert (frontend.heartbeat_ivl, frontend.heartbeat_timeout) == (HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS)


def test_what_a_worker_had_sent_is_read_after_its_end_and_its_link_is_gone(transport: Transport) -> None:
    links = transport.workers
    with closing(WorkerLink(links.connect(WORKER))) as worker:
        worker.send([b"tag", b"head", b"header", b"body"])
        wait_for(transport, Linked(WORKER))
        assert list(links.receive(WORKER)) == [[b"tag", b"head", b"header", b"body"]]
        assert links.send(WORKER, [b"work"])
        assert worker.receive() == [[b"work"]]
        for _ in range(10):
            worker.send([b"last words"])
    assert list(links.receive_rest(WORKER)) == [[b"last words"]] * 10
    assert not links.send(WORKER, [b"work"])
    assert list(links.receive(WORKER)) == []
    assert list(transport.poll(0)) == []


def test_a_link_that_somebody_else_holds_open_holds_nobody_up(transport: Transport) -> None:
    """A process that a worker had started, say."""
    with transport.workers.connect(WORKER):
        assert list(transport.workers.receive_rest(WORKER)) == []


def test_a_worker_that_does_not_read_blocks_nobody_and_gets_all_when_it_does(transport: Transport) -> None:
    links = transport.workers
    with closing(WorkerLink(links.connect(WORKER))) as worker:
        assert links.send(WORKER, [bytes(FRAMES)] * 100)
        got: list[list[bytes]] = []
        while not got:
            for source in transport.poll(0):
                assert source == Linked(WORKER)
                assert list(links.receive(WORKER)) == []
            got = worker.receive()
        assert got == [[bytes(FRAMES)] * 100]
        assert list(transport.poll(0)) == []


def test_a_descriptor_is_told_of_while_it_is_watched(transport: Transport) -> None:
    reading, writing = os.pipe()
    try:
        transport.watch(reading)
        os.write(writing, b"x")
        wait_for(transport, Readable(reading))
        transport.unwatch(reading)
        assert list(transport.poll(0)) == []
    finally:
        os.close(reading)
        os.close(writing)
