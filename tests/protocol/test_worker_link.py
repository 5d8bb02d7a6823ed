"""The link between the daemon and a worker: what one side sends the other one gets, whole and in order, in whatever
pieces; and then the end."""

import fcntl
import mmap
import resource
import socket
import struct
import sys
import termios
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.worker_link import WorkerLink
from protocol.worker_wire import WorkerWireError

LARGE = 1 << 20  # more than the kernel takes at once


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def received(link: WorkerLink) -> list[list[bytes]]:
    """All that has come in by now."""
    messages: list[list[Any]] = []
    while True:
        try:
            messages += link.receive()
        except BlockingIOError:
            return [[bytes(frame) for frame in message] for message in messages]


def waiting(stream: socket.socket) -> int:
    """Bytes that the kernel holds of it."""
    number = bytearray(4)
    fcntl.ioctl(stream, termios.FIONREAD, number)
    return int.from_bytes(number, sys.byteorder)


class Memory(NamedTuple):
    """Of this process, in bytes."""

    size: int
    resident: int


def memory() -> Memory:
    size, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
    return Memory(size * mmap.PAGESIZE, resident * mmap.PAGESIZE)


frames = st.binary(max_size=20) | st.integers(0, LARGE).map(bytes)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(frames, max_size=5), max_size=5))
def test_messages_arrive_whole_and_in_order(
    pair: tuple[socket.socket, socket.socket], messages: list[list[bytes]]
) -> None:
    """Of many frames, of none, and of more than the kernel holds of a stream."""
    sender, receiver = map(WorkerLink, pair)
    got: list[list[bytes]] = []
    for message in messages:
        sender.send(message)
        while sender.is_sending:
            got += received(receiver)
            sender.flush()
    assert got + received(receiver) == messages


def test_a_message_of_more_frames_than_the_system_takes_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    message = [b"%d" % number for number in range(3000)]
    sender, receiver = map(WorkerLink, pair)
    sender.send(message)
    assert received(receiver) == [message]


def test_a_large_message_is_read_into_its_place(pair: tuple[socket.socket, socket.socket]) -> None:
    """However many reads it takes, nothing is moved: each would cost as much as the whole."""
    sender, receiver = map(WorkerLink, pair)
    sender.send([bytes(16 * LARGE)])
    messages: list[list[Any]] = []
    tracemalloc.start()
    while not messages:
        with suppress(BlockingIOError):
            messages = receiver.receive()
        sender.flush()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LARGE


def test_no_read_lasts_for_as_long_as_the_other_side_writes(pair: tuple[socket.socket, socket.socket]) -> None:
    """It takes a bounded piece, however much there is."""
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LARGE)
    sender, receiver = map(WorkerLink, pair)
    sender.send([bytes(16 * LARGE)])
    most = 0
    messages: list[list[Any]] = []
    while not messages:
        sender.flush()
        before = waiting(pair[1])
        messages = receiver.receive()
        most = max(most, before - waiting(pair[1]))
    assert 0 < most <= LARGE / 4


def test_what_is_sent_behind_an_unread_message_follows_it(pair: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = map(WorkerLink, pair)
    messages = [[b"work", bytes(LARGE)], [b"stop"], [b"", bytes(LARGE), b""], []]
    for message in messages:
        sender.send(message)
    got = received(receiver)
    while sender.is_sending:
        sender.flush()
        got += received(receiver)
    assert got == messages


def test_a_large_message_outlives_its_link(pair: tuple[socket.socket, socket.socket]) -> None:
    """Its frames are views, and stay what they are when more is received, and when the link is closed."""
    message = [b"head", b"x" * LARGE, b"y" * LARGE]
    sender, receiver = map(WorkerLink, pair)
    sender.send(message)
    frames: list[list[Any]] = []
    while not frames:
        sender.flush()
        frames = receiver.receive()
    sender.send([b"z" * LARGE])
    assert received(receiver) == []
    receiver.close()
    del receiver
    assert [bytes(frame) for frame in frames[0]] == message


def test_a_message_that_comes_byte_by_byte(pair: tuple[socket.socket, socket.socket]) -> None:
    stream, receiver = pair[0], WorkerLink(pair[1])
    for byte in struct.pack("=III", 2, 1, 2) + b"abc":
        assert received(receiver) == []
        stream.send(bytes([byte]))
    assert received(receiver) == [[b"a", b"bc"]]


def test_more_messages_at_once_than_either_side_sends_are_said(pair: tuple[socket.socket, socket.socket]) -> None:
    """Zeros are messages without frames, thousands in a read."""
    pair[0].send(bytes(10_000))
    with pytest.raises(WorkerWireError, match="more than 64 messages at once"):
        WorkerLink(pair[1]).receive()


@pytest.mark.parametrize("unread", [[], [b"work"]], ids=["all read", "something unread"])
def test_what_was_sent_is_read_before_the_end(pair: tuple[socket.socket, socket.socket], unread: list[bytes]) -> None:
    """Also where the other side has ended before it read what it was sent."""
    sender, receiver = map(WorkerLink, pair)
    if unread:
        receiver.send(unread)
    sender.send([b"last", b"words"])
    sender.close()
    assert receiver.receive() == [[b"last", b"words"]]
    with pytest.raises(EOFError):
        receiver.receive()
    with pytest.raises(OSError, match="pipe"):
        receiver.send([b"work"])


def test_what_is_refused_can_not_be_sent_and_what_came_before_is_received(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    sender, receiver = map(WorkerLink, pair)
    sender.send([b"last", b"words"])
    receiver.refuse_more()
    with pytest.raises(BrokenPipeError):
        sender.send([b"more"])
    assert receiver.receive() == [[b"last", b"words"]]
    with pytest.raises(EOFError):
        receiver.receive()


def test_what_can_be_no_message_is_said(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].send(b"\xff" * 20)
    with pytest.raises(WorkerWireError, match="a message of 4294967295 frames"):
        WorkerLink(pair[1]).receive()


def test_a_claimed_length_costs_nothing_until_its_bytes_come(pair: tuple[socket.socket, socket.socket]) -> None:
    stream, receiver = pair[0], WorkerLink(pair[1])
    before = memory().resident
    stream.send(struct.pack("=2I", 1, 1 << 30) + b"begin")
    assert received(receiver) == []
    stream.send(b"a little more")
    assert received(receiver) == []
    assert memory().resident - before < 64 * LARGE


def test_a_message_larger_than_the_memory_of_the_host_is_said(pair: tuple[socket.socket, socket.socket]) -> None:
    stream, receiver = pair[0], WorkerLink(pair[1])
    stream.send(struct.pack("=30001I", 30_000, *[0xFFFFFFFF] * 30_000))
    with pytest.raises(WorkerWireError, match="a message of 128849018970004 bytes, for which there is no memory"):
        receiver.receive()


def test_a_message_for_which_the_system_gives_no_memory_is_said(pair: tuple[socket.socket, socket.socket]) -> None:
    stream, receiver = pair[0], WorkerLink(pair[1])
    stream.send(struct.pack("=2I", 1, 1 << 30))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory().size + 64 * LARGE, limits[1]))
    try:
        with pytest.raises(WorkerWireError, match="a message of 1073741832 bytes, for which there is no memory"):
            receiver.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
