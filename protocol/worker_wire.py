"""Frames between the broker and a worker. Both are ours and of one version; a malformed frame is a fault all the same.

    READY     worker -> broker   b"R", map {pool, pid}: one credit
    DISPATCH  broker -> worker   b"D", array [dispatch id, operation, [[deadline, items, flags, only] per request]],
                                 a body per request
    DONE      worker -> broker   b"A", array [dispatch id, follow-ups, timed out], a reply header and a reply body per
                                 request: it returns the credit
    STOP      broker -> worker   b"S": end when the dispatch in hand is done

A follow-up is work that follows from the dispatch, for a pool of a higher rank:
[request index or nil, item index, operation, key, items, body]. Where it names a request, that request's answer waits
until the follow-up is done, and the item fails where it fails. Otherwise it is *owed*: never refused, never expired. It
is done in any order, and may be done twice. Timed out says that the store gave no answer to anything in the time that
the dispatch had.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgpack

READY: Final = b"R"
DISPATCH: Final = b"D"
DONE: Final = b"A"
STOP: Final = b"S"


class Assignment(NamedTuple):
    """One request of a dispatch. deadline: microseconds on the daemon's clock, 0 for owed work, which has none.
    only: the one item of the body to execute and to answer, or None for all: how a read that lost its worker is
    dispatched again, alone, without anybody decoding the body in between."""

    deadline: int
    items: int
    flags: int
    only: int | None = None


class FollowUp(NamedTuple):
    """request, item: whose answer waits (None, 0: owed). key: of the record that it is about.
    items: records it touches, its weight in a batch. body: as a request's."""

    request: int | None
    item: int
    operation: str
    key: bytes
    items: int
    body: bytes


def pack_ready(pool: str, pid: int) -> list[bytes]:
    return [READY, msgpack.packb({"pool": pool, "pid": pid})]


def unpack_ready(frames: Sequence[bytes]) -> tuple[str, int]:
    """(pool, process id). Raises ValueError."""
    fields = msgpack.unpackb(frames[1])
    return str(fields["pool"]), int(fields["pid"])


def pack_dispatch(dispatch_id: int, operation: str, parts: Sequence[Assignment]) -> bytes:
    packed: bytes = msgpack.packb((dispatch_id, operation, parts))
    return packed


def unpack_dispatch(frame: bytes) -> tuple[int, str, list[Assignment]]:
    dispatch_id, operation, parts = msgpack.unpackb(frame)
    return dispatch_id, operation, [Assignment(*part) for part in parts]


def pack_done(dispatch_id: int, follow_ups: Sequence[FollowUp], timed_out: bool = False) -> bytes:
    packed: bytes = msgpack.packb((dispatch_id, follow_ups, timed_out))
    return packed


def unpack_done(frame: bytes) -> tuple[int, list[FollowUp], bool]:
    """(dispatch id, follow-ups, timed out). Raises ValueError where the frame is not what `pack_done` makes."""
    try:
        fields: Any = msgpack.unpackb(frame)
        dispatch_id, follow_ups, timed_out = fields
        if type(dispatch_id) is not int or type(timed_out) is not bool:
            raise ValueError("dispatch id is no integer, or timed out no boolean")
        return dispatch_id, [_checked(FollowUp(*fields)) for fields in follow_ups], timed_out
    except Exception as error:
        raise ValueError(f"worker's answer: {error}") from None


def _checked(follow_up: FollowUp) -> FollowUp:
    types = tuple(map(type, follow_up))
    if types not in (_JOINED, _OWED) or follow_up.items < 1:
        raise ValueError("a follow-up is not what it should be")
    return follow_up


_JOINED: Final = (int, int, str, bytes, int, bytes)
_OWED: Final = (type(None), int, str, bytes, int, bytes)
