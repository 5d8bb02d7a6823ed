"""Malformed input: an error where a request id can be read, dropped and counted where not; the others are served."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from broker.scheduling import POOL_OF_REQUEST
from protocol import Client, codes, wire
from tests.support.daemon import Daemon, Raw, running_daemon
from tests.support.patience import SOON

MAX_BODY = 2048
TOGETHER = 50  # messages of one example, sent at once
FAR = 1 << 62
KNOWN = b"\x01" * 32
MISSING = b"\x02" * 32  # with this one, no item that is well by chance is executed

Message = list[bytes]


class Target:
    """A daemon, its good citizen and its bad one."""

    def __init__(self, daemon: Daemon, good: Client, bad: Raw) -> None:
        self.daemon = daemon
        self.good = good
        self.bad = bad
        self.starts = daemon.worker_starts()
        self.welcome = bad.handshake()
        self.sent = 0
        self.unreadable = 0
        self.answers: Counter[str] = Counter()

    def expect_good_service(self) -> None:
        assert self.good.outpoint(KNOWN, 0).satoshis == 5

    def send(self, messages: list[Message]) -> None:
        """Every message is answered with errors alone, or dropped and counted."""
        expected: Counter[bytes] = Counter()
        for message in messages:
            prefix = wire.unpack_prefix(message[0]) if message else None
            if prefix is None:
                self.unreadable += 1
            else:
                expected[prefix.request_id] += 1
            self.bad.send(message or [b""])
        for _ in range(expected.total()):
            frames = self.bad.receive()
            prefix = wire.unpack_prefix(frames[0])
            assert prefix is not None
            assert expected[prefix.request_id] > 0, "an answer to nothing, or a second one"
            expected[prefix.request_id] -= 1
            self._check(prefix.type, frames)
        self.sent += len(messages)

    def _check(self, message_type: int, frames: Message) -> None:
        if message_type in (wire.WELCOME, wire.REPORT):  # what a WELCOME carries beyond its prefix is not looked at
            self.answers[str(message_type)] += 1
            return
        header = wire.unpack_reply_header(frames[1])
        if header.error is not None:
            self.answers[header.error.code] += 1
            return
        assert len(header.errors) == header.count, "an item of nonsense was executed"
        self.answers.update(error.code for error in header.errors.values())


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Target]:
    directory = tmp_path_factory.mktemp("malformed")
    with running_daemon(directory, {"broker.max_body_bytes": MAX_BODY}, store_kind) as daemon:
        daemon.wait_for_workers()
        bad = Raw(daemon.endpoint)
        with daemon.client() as good:
            good.create_partial(KNOWN, {0: (5, b"\x51")}, block_height=1)
            yield Target(daemon, good, bad)
        bad.close()


request_ids = st.binary(min_size=16, max_size=16)
numbers = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 300))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=40),
    st.just(MISSING),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=10,
)
types = st.sampled_from([wire.HELLO, wire.WELCOME, wire.REQUEST, wire.REPLY, wire.STATUS, wire.REPORT]) | st.integers(
    0, 255
)


def prefixed(message_type: int, request_id: bytes, version: int = wire.VERSION) -> bytes:
    return b"UX" + bytes([version, message_type]) + request_id


noise = st.lists(st.binary(max_size=64), max_size=5)
other_versions = st.builds(
    lambda version, kind, request_id, rest: [prefixed(kind, request_id, version), *rest],
    st.integers(0, 255).filter(lambda version: version != wire.VERSION),
    types,
    request_ids,
    noise,
)
other_types = st.builds(lambda kind, request_id, rest: [prefixed(kind, request_id), *rest], types, request_ids, noise)
other_headers = st.builds(
    lambda request_id, header, body: [prefixed(wire.REQUEST, request_id), msgpack.packb(header), body],
    request_ids,
    values | st.tuples(numbers, st.sampled_from([*POOL_OF_REQUEST, "", "mine"]) | values, numbers, numbers, numbers),
    st.binary(max_size=64),
)


@st.composite
def other_bodies(draw: Any) -> tuple[str, int, int, bytes]:
    """A header that is well (operation, count, flags), over a body that is not: noise, values of the wrong shape, items
    of the wrong shape, or more than may be."""
    operation = draw(st.sampled_from(list(POOL_OF_REQUEST)))
    flags = draw(st.sampled_from([0, 0, 0, 1, 2]))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return operation, draw(st.integers(0, 4)), flags, draw(st.binary(max_size=64))
    if kind == 1:
        return operation, draw(st.integers(0, 4)), flags, msgpack.packb(draw(values))
    if kind == 2:
        return operation, 1, flags, bytes(MAX_BODY + draw(st.integers(1, MAX_BODY - 1)))
    if kind == 3:
        return operation, 1, flags, b"\x91" * draw(st.integers(1, MAX_BODY))
    items = draw(st.lists(st.lists(values, max_size=7).map(lambda rest: [MISSING, *rest]) | values, max_size=4))
    return operation, len(items), flags, msgpack.packb(items)


messages = st.one_of(
    noise,
    other_versions,
    other_types,
    other_headers,
    st.tuples(request_ids, other_bodies()),
    st.tuples(request_ids, other_bodies(), st.integers(0, 200)),
)


def as_message(target: Target, drawn: Any) -> Message:
    if isinstance(drawn, list):
        return drawn
    request_id, (operation, count, flags, body), *cut = drawn
    header = wire.RequestHeader(target.welcome.epoch, operation, target.welcome.clock + 600_000_000, count, flags)
    message = [prefixed(wire.REQUEST, request_id), wire.pack_request_header(header), body]
    return truncated(message, cut[0]) if cut else message


def truncated(message: Message, at: int) -> Message:
    """The message's first `at` bytes, in as many frames as they reach into."""
    frames = []
    for frame in message:
        frames.append(frame[:at])
        at -= len(frame)
        if at <= 0:
            break
    return frames


@pytest.mark.timeout(1200)  # a busy machine makes them slowly
def test_malformed_messages_are_answered_or_counted_and_harm_nobody(target: Target) -> None:
    # Not made smaller where one fails: each try could wait for an answer that doesn't come.
    @settings(
        max_examples=200, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(messages, min_size=TOGETHER, max_size=TOGETHER))
    def send(drawn: list[Any]) -> None:
        target.send([as_message(target, one) for one in drawn])
        target.expect_good_service()

    send()
    print(f"{target.sent} messages, {target.unreadable} without a request id, answers: {dict(target.answers)}")
    assert target.sent >= 10_000
    assert target.daemon.worker_starts() == target.starts
    assert target.daemon.counter("unreadable") == target.unreadable
    assert target.daemon.status()["pending"] == 0


def test_counts_of_nonsense_do_not_break_the_report(target: Target) -> None:
    for epoch in (target.welcome.epoch, 0):
        for _ in range(3):
            header = wire.RequestHeader(epoch, "get", target.welcome.clock + 600_000_000, 2**64 - 1, 0)
            target.bad.ask(header, b"\x90")
    assert {reply.error.code for reply in target.bad.replies(6).values() if reply.error} <= {
        codes.TOO_LARGE,
        codes.STALE,
    }
    assert target.daemon.status()["pending"] == 0


def test_a_frame_too_large_to_be_answered_ends_its_own_connection_alone(target: Target) -> None:
    other = Raw(target.daemon.endpoint)
    other.handshake()
    lost = other.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    other.ask(wire.RequestHeader(target.welcome.epoch, "get", FAR, 1, 0), bytes(4 * MAX_BODY))
    assert lost.poll(int(SOON * 1000))
    target.expect_good_service()
    other.handshake()  # over a new connection
    lost.close()
    other.close()
