"""Frames become events. Whatever the frames are, there is an event for them: nothing is raised."""

from collections.abc import Hashable, Sequence

from protocol import codes, wire
from protocol.wire import ProtocolError
from protocol.worker_wire import Ready, WorkerWireError, unpack_from_worker

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


def from_submitter(submitter: Hashable, frames: Sequence[Body]) -> SubmitterEvent:
    """A submitter's message. frames: prefix and header are bytes; the body is passed on as it is."""
    prefix = wire.unpack_prefix(frames[0]) if frames else None
    if prefix is None:
        return UnreadableReceived()
    try:
        if prefix.version != wire.VERSION:
            raise ProtocolError(codes.UNSUPPORTED, f"version: {prefix.version} is not {wire.VERSION}")
        if prefix.type == wire.REQUEST:
            if len(frames) != 3:
                raise ProtocolError(codes.BAD_REQUEST, f"frames: {len(frames)}, where a request has 3")
            return RequestReceived(submitter, prefix.request_id, wire.unpack_request_header(frames[1]), frames[2])
        if prefix.type == wire.HELLO:
            return HelloReceived(submitter, prefix.request_id)
        if prefix.type == wire.STATUS:
            return StatusReceived(submitter, prefix.request_id)
        raise ProtocolError(codes.UNSUPPORTED, f"message type: {prefix.type} is none of a submitter's")
    except ProtocolError as error:
        return MalformedReceived(submitter, prefix.request_id, error.code, str(error))


def from_worker(worker: bytes, frames: Sequence[Body]) -> WorkerEvent:
    """A worker's message. frames: tag and second frame are bytes; the others are passed on as they are."""
    try:
        message = unpack_from_worker(frames)
    except WorkerWireError as error:
        return WorkerMalformed(worker, str(error))
    if not isinstance(message, Ready):
        return WorkerDone(worker, *message)
    if message.pool not in POOLS:
        return WorkerMalformed(worker, f"READY: there is no pool {message.pool!r}")
    return WorkerReady(worker, *message)
