"""What is put into the memory that two processes share is taken from it whole, in order, and once."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from broker.receipts.mailbox import Mailbox
from tests.support.daemon import ROOT

ROOM = 1000


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = Mailbox.make(ROOM)
    yield made
    os.close(made)


def test_messages_of_any_size_go_round_in_it(descriptor: int) -> None:
    chance = random.Random(1)
    ours, theirs = Mailbox(descriptor), Mailbox(descriptor)
    put: list[bytes] = []
    taken: list[bytes] = []
    for number in range(2000):
        message = chance.randbytes(chance.randrange(1, 300))
        if ours.put(message, number):
            put.append(message)
        if chance.random() < 0.4:
            taken += theirs.take()
        assert theirs.number == number
    taken += theirs.take()
    assert len(put) > 1000
    assert taken == put
    assert theirs.take() == []


def test_what_has_no_room_is_refused_and_harms_nothing(descriptor: int) -> None:
    ours = Mailbox(descriptor)
    assert ours.put(b"a" * 600, 1)
    assert not ours.put(b"b" * 600, 2)
    assert not ours.put(b"c" * 2 * ROOM, 3)
    assert ours.put(b"d" * 200, 4)
    assert Mailbox(descriptor).take() == [b"a" * 600, b"d" * 200]


def test_what_is_not_seen_whole_yet_waits(descriptor: int) -> None:
    ours, theirs = Mailbox(descriptor), Mailbox(descriptor)
    ours.put(b"first", 1)
    ours.put(b"second", 2)
    place = os.pread(descriptor, ROOM, 0).index(b"second")
    os.pwrite(descriptor, b"S", place)
    assert theirs.take() == [b"first"]
    os.pwrite(descriptor, b"s", place)
    assert theirs.take() == [b"second"]


def test_a_count_is_never_seen_half_written() -> None:
    """A number that is seen as 0 for a moment would have the daemon think that nothing was taken."""
    descriptor = Mailbox.make(100)
    mailbox = Mailbox(descriptor)
    program = f"from broker.receipts.mailbox import Mailbox\nbox = Mailbox({descriptor})\n"
    program += "for number in range(1, 300_001): box.put(bytes(200), number)"
    putter = subprocess.Popen([sys.executable, "-c", program], pass_fds=[descriptor], cwd=ROOT)
    seen = 0
    while putter.poll() is None:
        seen, before = mailbox.number, seen
        assert seen >= before
    assert (putter.returncode, mailbox.number) == (0, 300_000)
    mailbox.close()
    os.close(descriptor)
