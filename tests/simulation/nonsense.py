"""Replies that are not what the protocol says, and requests that are none."""

from random import Random
from typing import Any, Final

import msgpack

from protocol import codes, wire
from protocol.wire import RequestHeader
from protocol.worker_wire import pack_done
from tests.simulation.tasks import HeldDispatch, Message, Task

_GARBAGE: Final = b"\xc1\xff garbage"
_KEY: Final = b"master 0"


def garble(message: Message, dispatch: HeldDispatch, pool: str, rng: Random) -> Message:
    """A worker's answer, spoilt in one of many ways."""
    number, frames = dispatch.number, message.frames
    body = b"\x91\x01"
    follow_ups: list[Any] = [
        (0, 0, "get", _KEY, 1, body),
        (0, 0, "nosuch", _KEY, 1, body),
        (0, 0, ["lock_children"], _KEY, 1, body),
        (len(dispatch.tasks), 0, "lock_children", _KEY, 1, body),
        (-1, 0, "lock_children", _KEY, 1, body),
        ("0", 0, "lock_children", _KEY, 1, body),
        (0, 99, "lock_children", _KEY, 1, body),
        (0, -1, "lock_children", _KEY, 1, body),
        (0, None, "lock_children", _KEY, 1, body),
        (0, 0, "lock_children", None, 1, body),
        (0, 0, "lock_children", [], 1, body),
        (None, 0, "increment", 7, 1, body),
        (None, 0, "increment", None, 1, body),
        (None, 0, "increment", _KEY, 0, body),
        (None, 0, "increment", _KEY, "1", body),
        (None, 0, "increment", _KEY, 1, 5),
        (None, 0, "increment", _KEY, 1, None),
        (None, 0, "increment"),
        None,
    ]
    kind = rng.randrange(10)
    if kind == 0:
        return Message(number, frames[:-1], sound=False)
    if kind == 1:
        return Message(None, [_GARBAGE, *frames[1:]], sound=False)
    if kind == 2:
        return Message(None, [], sound=False)
    if kind == 3:
        return Message(number, [*frames, b""], sound=False)
    if kind == 4:
        return Message(number + 1000, [pack_done(number + 1000, []), *frames[1:]])
    if kind == 5:
        # One header in the batch that its submitter could not read, or that is of another number of items.
        spoilt = list(frames)
        spoilt[1 + 2 * rng.randrange(len(dispatch.tasks))] = rng.choice((_GARBAGE, wire.ok_header(13)))
        return Message(number, spoilt, sound=False)
    if kind == 6 and pool != "children":
        spoilt = [frame if index % 2 == 0 else _GARBAGE for index, frame in enumerate(frames)]
        spoilt[0] = pack_done(number, [(0, 0, "lock_children", _KEY, 1, body)])  # type: ignore[list-item]
        return Message(number, spoilt, sound=False)
    if kind == 7:
        bodies = rng.choice((b"", b"\x93\x01\x02\x03", _GARBAGE))
        return _well_formed(number, [(header, bodies, []) for header, _, _ in message.replies])
    spoilt = [msgpack.packb((number, [rng.choice(follow_ups)], False)), *frames[1:]]
    return Message(number, spoilt, sound=False)


def _well_formed(number: int, replies: list[tuple[bytes, bytes, list[Task]]]) -> Message:
    return Message(number, [pack_done(number, []), *[frame for reply in replies for frame in reply[:2]]], replies)


def malformed(request_id: bytes, epoch: int, now: int, rng: Random) -> tuple[list[bytes], str | None]:
    """A submitter's message that can't be admitted: its frames, and the code to refuse it with; None where it has no
    answer, because it has no readable request id."""
    soon = now + 500_000
    prefix = wire.pack_prefix(wire.REQUEST, request_id)
    whole = RequestHeader(epoch, "get", soon, 1, 0)
    kind = rng.randrange(16)
    if kind < 4:
        return ([], [b"UX"], [b"XY" + prefix[2:], b"", b""], [prefix + b"\0"])[kind], None
    if kind == 4:
        return [prefix[:2] + b"\x09" + prefix[3:], b"", b""], codes.UNSUPPORTED
    if kind == 5:
        return [wire.pack_prefix(77, request_id)], codes.UNSUPPORTED
    if kind == 6:
        return [prefix, wire.pack_request_header(whole)], codes.BAD_REQUEST
    if kind == 7:
        return [prefix, wire.pack_request_header(whole), b"\x90", b""], codes.BAD_REQUEST
    if kind == 8:
        spoilt = (_GARBAGE, b"", b"\x90", b"\x95" * 200, msgpack.packb([epoch, 5, soon, 1, 0]), b"\x95\x01")
        return [prefix, rng.choice(spoilt), b"\x90"], codes.BAD_REQUEST
    if kind == 9:
        spoilt = msgpack.packb([epoch, "get", soon, rng.choice((-1, None, 1.5, True)), 0])
        return [prefix, spoilt, b"\x90"], codes.BAD_REQUEST
    code, header, size = (
        (codes.BAD_REQUEST, whole._replace(count=0), 9),
        (codes.TOO_LARGE, whole._replace(count=2**63), 9),
        (codes.TOO_LARGE, whole, 401),
        (codes.BAD_REQUEST, whole._replace(flags=1), 9),
        (codes.UNSUPPORTED, whole._replace(operation=rng.choice(("lock_children", "nosuch", ""))), 9),
        (codes.BAD_REQUEST, whole._replace(deadline=now + 60_000_000), 9),
    )[kind - 10]
    return [prefix, wire.pack_request_header(header), b"." * size], code
