"""Frames between the broker and a worker. Both are ours and of one version; a malformed frame is a fault all the same:
`unpack_from_worker` and `unpack_from_broker` raise WorkerWireError, and nothing else, whatever the frames are.

    READY     worker -> broker   b"R", map {pool, pid}: one credit
    DISPATCH  broker -> worker   b"D", array [number, operation, [[deadline, item count, flags, only] per request],
                                 request ids], a body per request
    DONE      worker -> broker   b"A", array [number, follow-ups, timed out, store us, ignored, dropped], a reply header
                                 and a reply body per request: it returns the credit
    LEVEL     broker -> worker   b"L", text: the least that it logs from now on
    STOP      broker -> worker   b"S": end when the dispatch in hand is done

A follow-up is work that follows from the dispatch, for a pool of a higher rank:
[request index or nil, item index, operation, key, weight, body]. Where it names a request, that request's answer waits
until the follow-up is done, and the item fails where it fails. Otherwise it is *owed*: never refused, never expired. It
is done in any order, and may be done twice. Timed out says that the store gave no answer to anything in the time that
the dispatch had. The request ids are 16 bytes each, one after the other in one field: a part has the one of the
request that it is for, owed work has zeros; they are for the log. Store us are the microseconds that calls of the store
took, ignored the items that were completed a second time, dropped the lines of log that this worker has dropped so far.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgpack

from .wire import REQUEST_ID_BYTES

READY: Final = b"R"
DISPATCH: Final = b"D"
DONE: Final = b"A"
LEVEL: Final = b"L"
STOP: Final = b"S"

_LEVELS: Final = ("debug", "info", "warning", "error")


class WorkerWireError(ValueError):
    """A message that is not what this module says; the text names the message and what is wrong with it."""


class Assignment(NamedTuple):
    """One entry, as a worker is handed it. deadline: microseconds on the daemon's clock, 0 for owed work, which has
    none. item_count: items to execute and to answer. only: the one item of the body to execute and to answer, or None
    for all: how a read that lost its worker is dispatched again, alone, without anybody decoding the body in between.
    """

    deadline: int
    item_count: int
    flags: int
    only: int | None = None


class FollowUp(NamedTuple):
    """request_index: in the dispatch, whose answer waits, or None: owed. item_index: in that request, which fails where
    the follow-up fails; 0 for owed work. key: of the record that it is about. weight: what it counts in a batch, the
    records that it touches. body: as a request's."""

    request_index: int | None
    item_index: int
    operation: str
    key: bytes
    weight: int
    body: bytes


class ReadyMessage(NamedTuple):
    """pool: whose work it does. pid: its process, for people."""

    pool: str
    pid: int


class DoneMessage(NamedTuple):
    """store_us: microseconds that calls of the store took. ignored: second completions of items. dropped: lines of log
    that the worker has dropped since its start. replies: header and body of each request's reply, one after the other,
    unread."""

    number: int
    follow_ups: list[FollowUp]
    timed_out: bool
    store_us: int
    ignored: int
    dropped: int
    replies: Sequence[Any]


class DispatchMessage(NamedTuple):
    """request_ids: one after the other. bodies: one per assignment, unread."""

    number: int
    operation: str
    assignments: list[Assignment]
    request_ids: bytes
    bodies: Sequence[Any]


class LevelMessage(NamedTuple):
    """level: debug, info, warning or error."""

    level: str


class StopMessage(NamedTuple):
    """The worker is to end."""


def pack_ready(pool: str, pid: int) -> list[bytes]:
    """Both frames of READY."""
    return [READY, msgpack.packb({"pool": pool, "pid": pid})]


def pack_done(
    number: int,
    follow_ups: Sequence[FollowUp],
    timed_out: bool = False,
    *,
    store_us: int = 0,
    ignored: int = 0,
    dropped: int = 0,
) -> bytes:
    """The second frame of DONE."""
    packed: bytes = msgpack.packb((number, follow_ups, timed_out, store_us, ignored, dropped))
    return packed


def pack_dispatch(number: int, operation: str, assignments: Sequence[Assignment], request_ids: bytes) -> bytes:
    """The second frame of DISPATCH. request_ids: one for each assignment, one after the other."""
    packed: bytes = msgpack.packb((number, operation, assignments, request_ids))
    return packed


def unpack_from_worker(frames: Sequence[Any]) -> ReadyMessage | DoneMessage:
    """A worker's message. frames: tag and second frame are bytes, or what MessagePack reads like them; the others are
    passed on as they are. Raises WorkerWireError."""
    tag = _tag(frames)
    try:
        if tag == DONE:
            return _unpack_done(frames)
        if tag == READY:
            return _unpack_ready(frames)
    except Exception as error:
        raise WorkerWireError(f"{'DONE' if tag == DONE else 'READY'}: {error}") from None
    raise WorkerWireError(f"{tag[:8]!r} is no message of a worker")


def unpack_from_broker(frames: Sequence[Any]) -> DispatchMessage | LevelMessage | StopMessage:
    """The broker's message; as `unpack_from_worker`. Raises WorkerWireError."""
    tag = _tag(frames)
    if tag == DISPATCH:
        try:
            return _unpack_dispatch(frames)
        except Exception as error:
            raise WorkerWireError(f"DISPATCH: {error}") from None
    if tag == LEVEL:
        try:
            return _unpack_level(frames)
        except Exception as error:
            raise WorkerWireError(f"LEVEL: {error}") from None
    if tag == STOP:
        return StopMessage()
    raise WorkerWireError(f"{tag[:8]!r} is no message of the broker")


def _tag(frames: Sequence[Any]) -> bytes:
    if not frames:
        raise WorkerWireError("a message without frames")
    return bytes(frames[0])


def _unpack_ready(frames: Sequence[Any]) -> ReadyMessage:
    fields = msgpack.unpackb(frames[1])
    pool, pid = fields["pool"], fields["pid"]
    if type(pool) is not str or type(pid) is not int:
        raise ValueError("pool is no string, or pid no integer")
    return ReadyMessage(pool, pid)


def _unpack_done(frames: Sequence[Any]) -> DoneMessage:
    number, follow_ups, timed_out, store_us, ignored, dropped = msgpack.unpackb(frames[1])
    if type(number) is not int or type(timed_out) is not bool:
        raise ValueError("number is no integer, or timed out no boolean")
    if not type(store_us) is type(ignored) is type(dropped) is int or store_us < 0 or ignored < 0 or dropped < 0:
        raise ValueError("store us, ignored or dropped is no unsigned integer")
    checked = [_checked(FollowUp(*fields)) for fields in follow_ups]
    return DoneMessage(number, checked, timed_out, store_us, ignored, dropped, frames[2:])


def _unpack_level(frames: Sequence[Any]) -> LevelMessage:
    level = bytes(frames[1]).decode()
    if level not in _LEVELS:
        raise ValueError(f"there is no level {level!r:.50}")
    return LevelMessage(level)


def _unpack_dispatch(frames: Sequence[Any]) -> DispatchMessage:
    number, operation, assignments, request_ids = msgpack.unpackb(frames[1])
    if type(number) is not int or type(operation) is not str:
        raise ValueError("number is no integer, or operation no string")
    bodies = frames[2:]
    if len(bodies) != len(assignments):
        raise ValueError(f"{len(bodies)} bodies for {len(assignments)} requests")
    if type(request_ids) is not bytes or len(request_ids) != REQUEST_ID_BYTES * len(assignments):
        raise ValueError(f"request ids: not {REQUEST_ID_BYTES} bytes for each of {len(assignments)} requests")
    return DispatchMessage(number, operation, [Assignment(*fields) for fields in assignments], request_ids, bodies)


def _checked(follow_up: FollowUp) -> FollowUp:
    types = tuple(map(type, follow_up))
    if types not in (_AWAITED, _OWED) or follow_up.weight < 1:
        raise ValueError("a follow-up is not what it should be")
    return follow_up


_AWAITED: Final = (int, int, str, bytes, int, bytes)
_OWED: Final = (type(None), int, str, bytes, int, bytes)
