"""Whatever frames come, there is an event for them: the core is told, and the loop goes on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.decoding import from_submitter, from_worker
from broker.events import (
    HelloReceived,
    MalformedReceived,
    RequestReceived,
    StatusReceived,
    UnreadableReceived,
    WorkerDone,
    WorkerMalformed,
    WorkerReady,
)
from protocol import wire
from protocol.wire import RequestHeader
from protocol.worker_wire import DONE, READY, FollowUp, pack_done, pack_ready

ID = bytes(range(16))
WHO = (0, b"submitter")
HEADER = RequestHeader(7, "get", 1_000_000, 1, 0)
REQUEST = [wire.pack_prefix(wire.REQUEST, ID), wire.pack_request_header(HEADER), b"\x91\x01"]


def prefixed(kind: int) -> list[bytes]:
    return [wire.pack_prefix(kind, ID)]


def test_a_submitters_messages_become_events() -> None:
    assert from_submitter(WHO, prefixed(wire.HELLO)) == HelloReceived(WHO, ID)
    assert from_submitter(WHO, prefixed(wire.STATUS)) == StatusReceived(WHO, ID)
    assert from_submitter(WHO, REQUEST) == RequestReceived(WHO, ID, HEADER, b"\x91\x01")


def test_a_body_is_passed_on_as_it_came() -> None:
    body = object()
    event = from_submitter(WHO, [*REQUEST[:2], body])
    assert isinstance(event, RequestReceived)
    assert event.body is body
    done = from_worker(b"w", [DONE, pack_done(1, []), b"header", body])
    assert isinstance(done, WorkerDone)
    assert done.replies[1] is body


@pytest.mark.parametrize("frames", [[], [b""], [b"nonsense"], [b"XY" + REQUEST[0][2:]], [REQUEST[0] + b"\0"]])
def test_a_message_without_a_prefix_is_unreadable(frames: list[bytes]) -> None:
    assert from_submitter(WHO, frames) == UnreadableReceived()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([REQUEST[0][:2] + b"\x09" + REQUEST[0][3:]], "UNSUPPORTED"),
        (prefixed(wire.WELCOME), "UNSUPPORTED"),
        (prefixed(77), "UNSUPPORTED"),
        (REQUEST[:2], "BAD_REQUEST"),
        ([*REQUEST, b""], "BAD_REQUEST"),
        ([REQUEST[0], b"\xc1", b""], "BAD_REQUEST"),
    ],
)
def test_what_has_a_prefix_and_is_none_of_a_submitters_messages_can_be_refused(frames: list[bytes], code: str) -> None:
    event = from_submitter(WHO, frames)
    assert isinstance(event, MalformedReceived)
    assert event[:3] == (WHO, ID, code)


def test_a_workers_messages_become_events() -> None:
    follow_up = FollowUp(None, 0, "note_child", b"key", 1, b"\x90")
    assert from_worker(b"w", pack_ready("write", 5)) == WorkerReady(b"w", "write", 5)
    frames = [DONE, pack_done(3, [follow_up], timed_out=True), b"header", b"body"]
    assert from_worker(b"w", frames) == WorkerDone(b"w", 3, [follow_up], True, 0, 0, 0, [b"header", b"body"])


@pytest.mark.parametrize("frames", [[], [b""], [b"X"], [READY, b"\xc1"], [DONE, b"\xc1"], pack_ready("nosuch", 5)])
def test_what_is_none_of_a_workers_messages_is_malformed(frames: list[bytes]) -> None:
    event = from_worker(b"w", frames)
    assert isinstance(event, WorkerMalformed)
    assert event.worker == b"w"
    assert event.reason


@given(frames=st.lists(st.binary(max_size=40) | st.just(REQUEST[0]) | st.sampled_from([READY, DONE]), max_size=4))
def test_no_frames_raise(frames: list[Any]) -> None:
    assert from_submitter(WHO, frames) is not None
    assert from_worker(b"w", frames) is not None
