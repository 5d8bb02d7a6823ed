"""The published vectors, sent to a real daemon: it answers each as they say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol import codes, wire
from tests.support.daemon import Raw, running_daemon

VECTORS = json.loads((Path(__file__).parents[1] / "protocol" / "vectors.json").read_text())
Vector = dict[str, Any]


def to_daemon(kind: str) -> list[Any]:
    chosen = [vector for vector in VECTORS[kind] if vector["direction"] == "submitter to daemon"]
    return [pytest.param(vector, id=vector["name"]) for vector in chosen]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Raw]:
    with running_daemon(tmp_path_factory.mktemp("vectors"), {}, store_kind) as daemon:
        daemon.wait_for_workers()
        one = Raw(daemon.endpoint)
        yield one
        one.close()


def frames_of(vector: Vector, raw: Raw, fresh: bool) -> list[bytes]:
    """The vector's frames; fresh: with the epoch and a deadline of the daemon that it is sent to."""
    frames = [bytes.fromhex(frame) for frame in vector["frames"]]
    if fresh:
        welcome = raw.handshake()
        header = wire.unpack_request_header(frames[1])
        frames[1] = wire.pack_request_header(header._replace(epoch=welcome.epoch, deadline=welcome.clock + 60_000_000))
    return frames


@pytest.mark.parametrize("vector", to_daemon("malformed"))
def test_a_malformed_vector_is_answered_with_the_fault_it_names(raw: Raw, vector: Vector) -> None:
    raw.send(frames_of(vector, raw, vector["fresh"]))
    if vector["code"] is None:
        raw.handshake()  # the next answer is that of the next message
        return
    prefix, header, _ = raw.receive()
    assert prefix[4:] == bytes.fromhex(vector["frames"][0])[4:20]
    reply = wire.unpack_reply_header(header)
    error = reply.error or (reply.errors.get(0) if vector["item"] else None)
    assert error is not None
    assert (error.code, error.executed) == (vector["code"], vector["executed"])


@pytest.mark.parametrize("vector", to_daemon("messages"))
def test_a_good_vector_is_understood(raw: Raw, vector: Vector) -> None:
    kind = vector["means"]["type"]
    raw.send(frames_of(vector, raw, kind == "REQUEST"))
    frames = raw.receive()
    if kind == "REQUEST":
        reply = wire.unpack_reply_header(frames[1])
        assert reply.error is None
        assert reply.count == vector["means"]["header"]["count"]
        faults = {error.code for error in reply.errors.values()} & codes.FAULTS
        # A whole transaction that is created or accepted is only the first bytes of one.
        assert faults <= ({codes.BAD_REQUEST} if "a whole transaction" in vector["name"] else set())
    else:
        assert frames[0][3] == {"HELLO": wire.WELCOME, "STATUS": wire.REPORT}[kind]
