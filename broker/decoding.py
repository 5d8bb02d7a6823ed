"""Frames become events. Whatever the frames are, there is an event for them: nothing is raised."""

from collections.abc import Hashable, Sequence
from typing import Final

from protocol import codes, wire
from protocol.wire import REQUEST_ID_BYTES, ProtocolError
from protocol.worker_wire import ReadyMessage, WorkerWireError, unpack_from_worker

from .entry import Body
from .events import (
    HelloReceived,
    MalformedReceived,
    RequestReceived,
    StatusReceived,
    SubmitterEvent,
    UnreadableReceived,
    WorkerDone,
    WorkerEvent,
    WorkerMalformed,
    WorkerReady,
)
from .scheduling import POOLS

# How the prefix of a request begins. Nearly every message is one: its prefix need not be taken apart.
_REQUEST: Final = wire.pack_prefix(wire.REQUEST, bytes(REQUEST_ID_BYTES))[:-REQUEST_ID_BYTES]


def from_submitter(submitter: Hashable, frames: Sequence[Body]) -> SubmitterEvent:
    """A submitter's message. frames: prefix and header are bytes; the body is passed on as it is."""
    prefix = frames[0] if frames else b""
    if prefix[:-REQUEST_ID_BYTES] != _REQUEST:
        return _from_other_prefix(submitter, prefix)
    request_id = prefix[-REQUEST_ID_BYTES:]
    if len(frames) != 3:
        message = f"frames: {len(frames)}, where a request has 3"
        return MalformedReceived(submitter, request_id, codes.BAD_REQUEST, message)
    try:
        return RequestReceived(submitter, request_id, wire.unpack_request_header(frames[1]), frames[2])
    except ProtocolError as error:
        return MalformedReceived(submitter, request_id, error.code, str(error))


def _from_other_prefix(submitter: Hashable, frame: bytes) -> SubmitterEvent:
    prefix = wire.unpack_prefix(frame)
    if prefix is None:
        return UnreadableReceived()
    if prefix.version != wire.VERSION:
        problem = f"version: {prefix.version} is not {wire.VERSION}"
    elif prefix.type == wire.HELLO:
        return HelloReceived(submitter, prefix.request_id)
    elif prefix.type == wire.STATUS:
        return StatusReceived(submitter, prefix.request_id)
    else:
        problem = f"message type: {prefix.type} is not one that a submitter may send"
    return MalformedReceived(submitter, prefix.request_id, codes.UNSUPPORTED, problem)


def from_worker(worker: bytes, frames: Sequence[Body]) -> WorkerEvent:
    """A worker's message. frames: tag and second frame are bytes; the others are passed on as they are."""
    try:
        message = unpack_from_worker(frames)
    except WorkerWireError as error:
        return WorkerMalformed(worker, str(error))
    if not isinstance(message, ReadyMessage):
        return WorkerDone(worker, *message)
    if message.pool not in POOLS:
        return WorkerMalformed(worker, f"READY: there is no pool {message.pool!r}")
    return WorkerReady(worker, message.pool, message.pid)
