"""The frames: the published vectors, and whatever bytes may come."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import wire
from protocol.client.call import Call
from protocol.client.session import Session
from protocol.wire import Error, Limits, ProtocolError
from tests.support.interrupting import interrupts, raising

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
TYPES = {name: getattr(wire, name) for name in ("HELLO", "WELCOME", "REQUEST", "REPLY", "STATUS", "REPORT")}
TO_DAEMON = "submitter to daemon"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=4),
    max_leaves=20,
)
frames = st.binary(max_size=200) | json_values.map(msgpack.packb)


def plain(value: Any) -> Any:
    """A vector's JSON as the value it stands for."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"hex"}:
        return bytes.fromhex(value["hex"])
    if set(value) == {"map"}:
        return {key: plain(each) for key, each in value["map"]}
    return {key: plain(each) for key, each in value.items()}


def named(vectors: list[dict[str, Any]]) -> Any:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def pack(means: dict[str, Any]) -> list[bytes]:
    """The frames of a message, from its meaning."""
    found = [wire.pack_prefix(TYPES[means["type"]], means["request_id"])]
    if means["type"] == "WELCOME":
        limits = Limits(**means["limits"])
        found.append(wire.pack_welcome(wire.Welcome(means["epoch"], means["clock"], limits, means["version"])))
    elif means["type"] == "REPORT":
        found.append(wire.pack_report(means["report"]))
    elif means["type"] == "REQUEST":
        header = wire.RequestHeader(**means["header"])
        found += [wire.pack_request_header(header), wire.pack_body(means["items"])]
    elif means["type"] == "REPLY":
        found += [wire.pack_reply_header(reply_header(means)), wire.pack_body(means["results"])]
    return found


def reply_header(means: dict[str, Any]) -> wire.ReplyHeader:
    error = Error(**means["error"]) if means["error"] else None
    return wire.ReplyHeader(error, means["count"], {index: Error(**fields) for index, fields in means["errors"]})


@pytest.mark.parametrize("vector", named(VECTORS["messages"]))
def test_a_messages_meaning_makes_its_frames(vector):
    assert [frame.hex() for frame in pack(plain(vector["means"]))] == vector["frames"]


@pytest.mark.parametrize("vector", named(VECTORS["messages"]))
def test_a_messages_frames_give_its_meaning(vector):
    means = plain(vector["means"])
    first, *rest = [bytes.fromhex(frame) for frame in vector["frames"]]
    assert wire.unpack_prefix(first) == (VECTORS["version"], TYPES[means["type"]], means["request_id"])
    if means["type"] == "WELCOME":
        welcome = wire.unpack_welcome(rest[0])
        assert (welcome.epoch, welcome.clock, welcome.version) == (means["epoch"], means["clock"], means["version"])
        assert welcome.limits == Limits(**means["limits"])
    elif means["type"] == "REPORT":
        assert wire.unpack_report(rest[0]) == means["report"]
    elif means["type"] == "REQUEST":
        assert wire.unpack_request_header(rest[0])._asdict() == means["header"]
        assert wire.unpack_body(rest[1], means["header"]["count"]) == means["items"]
    elif means["type"] == "REPLY":
        assert wire.unpack_reply_header(rest[0]) == reply_header(means)
        assert wire.unpack_body(rest[1], means["count"]) == means["results"]


@pytest.mark.parametrize("vector", named([v for v in VECTORS["malformed"] if v["direction"] == TO_DAEMON]))
def test_a_malformed_message_to_the_daemon_is_found_by_the_fault_it_names(vector):
    """As far as the frames alone show it; the rest is the daemon's to find, with an epoch and a deadline of its own."""
    first, *rest = [bytes.fromhex(frame) for frame in vector["frames"]]
    prefix = wire.unpack_prefix(first)
    assert (prefix is None) == (vector["code"] is None)
    if prefix is None or prefix.version != wire.VERSION or prefix.type != wire.REQUEST or len(rest) != 2:
        return
    if vector["name"].startswith("header:"):
        with pytest.raises(ProtocolError) as caught:
            wire.unpack_request_header(rest[0])
        assert caught.value.code == vector["code"]
        return
    header = wire.unpack_request_header(rest[0])
    if vector["name"].startswith("body:"):
        with pytest.raises(ProtocolError) as caught:
            wire.unpack_body(rest[1], header.count)
        assert caught.value.code == vector["code"]


@pytest.mark.parametrize("vector", named([v for v in VECTORS["malformed"] if v["direction"] != TO_DAEMON]))
def test_a_malformed_answer_is_dropped_and_counted(vector):
    session = Session(0.25)
    session._next_id = lambda: bytes(range(16))  # the id the vectors answer to
    session.outgoing(1.0)
    welcome = wire.pack_welcome(wire.Welcome(1, 1, Limits()))
    session.received([wire.pack_prefix(wire.WELCOME, bytes(range(16))), welcome], 1.0)
    call = Call("get", wire.pack_body([[b"", None]])[1:], 1)
    call.deadline, call.waiter = 5.0, object()
    session.submit(call)
    assert session.outgoing(1.0) is not None
    session.received([bytes.fromhex(frame) for frame in vector["frames"]], 1.0)
    assert session.counters.malformed == 1
    assert session.take_settled() == []
    assert session.busy


@given(frame=frames)
def test_no_bytes_raise_anything_but_protocol_error(frame):
    prefix = wire.unpack_prefix(frame)
    assert prefix is None or len(frame) == wire.PREFIX_BYTES
    for unpack in (
        wire.unpack_request_header,
        wire.unpack_reply_header,
        wire.unpack_welcome,
        wire.unpack_report,
        lambda body: wire.unpack_body(body, 1),
    ):
        with contextlib.suppress(ProtocolError):
            unpack(frame)


@pytest.mark.parametrize("version", [b"\x91" * 1000 + b"\xc0", msgpack.packb(7), msgpack.packb(None)])
def test_a_welcome_whose_version_is_no_string_tells_none(version):
    """Nobody writes out what else it is: that goes deeper than the stack, maybe, where reading it did not."""
    told = wire.Welcome(1, 2, Limits(), "1.0")
    packed = wire.pack_welcome(told)
    assert wire.unpack_welcome(packed) == told
    assert wire.unpack_welcome(packed.replace(msgpack.packb("1.0"), version)) == replace(told, version="")


@pytest.mark.parametrize(
    ("unpack", "frame"),
    [
        (wire.unpack_welcome, wire.pack_welcome(wire.Welcome(1, 1, Limits()))),
        (wire.unpack_reply_header, wire.pack_reply_header(wire.ReplyHeader(None, 2, {1: Error("SPENT", "no")}))),
        (wire.unpack_reply_header, wire.error_header(Error("OVERLOADED", "no", "", 10))),
        (wire.unpack_report, wire.pack_report({"epoch": 1})),
        (lambda frame: wire.unpack_body(frame, 1), wire.pack_body([1])),
    ],
    ids=["welcome", "reply header", "error", "report", "body"],
)
def test_an_interrupt_of_reading_a_frame_is_not_taken_for_the_frames_fault(unpack, frame):
    """It would be lost, and with it an answer that is as it should be."""
    for interrupt in interrupts(raising(TimeoutError), step=1):
        try:
            with interrupt:
                unpack(frame)
        except TimeoutError:
            continue
        assert interrupt.left  # it comes behind the end


@given(fields=st.lists(json_values, min_size=5, max_size=7))
def test_a_header_that_is_accepted_has_fields_of_the_right_types(fields):
    with contextlib.suppress(ProtocolError):
        request = wire.unpack_request_header(msgpack.packb(fields))
        assert [type(field) for field in request] == [int, str, int, int, int]
    with contextlib.suppress(ProtocolError):
        reply = wire.unpack_reply_header(msgpack.packb(fields))
        assert reply.error is None or reply.error.executed in ("no", "unknown")


@given(items=st.lists(json_values, max_size=20))
def test_what_is_packed_is_unpacked(items):
    packed = wire.pack_body(items)
    assert repr(wire.unpack_body(packed, len(items))) == repr(items)
    assert wire.concatenate_results([msgpack.packb(item) for item in items]) == packed
