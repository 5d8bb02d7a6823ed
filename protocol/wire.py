"""Frames between a submitter and the daemon. No I/O: bytes in, values out, and the reverse.

A message is one to three frames. The first is a prefix of 20 bytes whose layout no later version will change, so that
a request whose version or header cannot be read still gets an answer:

    bytes 0-1   b"UX"
    byte  2     version (1)
    byte  3     message type
    bytes 4-19  request id, chosen by the submitter, returned with the answer

    HELLO    submitter -> daemon   prefix
    WELCOME  daemon -> submitter   prefix, map {epoch, clock, limits, version}; limits: map of the fields of `Limits`
    REQUEST  submitter -> daemon   prefix, array [epoch, operation, deadline, count, flags],
                                   body: array of `count` items
    REPLY    daemon -> submitter   prefix, array [code, executed, message, retry_after, details, count,
                                   map index -> [code, executed, message, retry_after, details]],
                                   body: array of `count` results
    STATUS   submitter -> daemon   prefix
    REPORT   daemon -> submitter   prefix, map

Headers and bodies are MessagePack. Deadlines and clocks are microseconds on the daemon's monotonic clock; retry_after
is milliseconds. Sizes and counts are checked before anything is decoded.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgpack

from . import codes

VERSION: Final = 1
MAGIC: Final = b"UX"
REQUEST_ID_BYTES: Final = 16
PREFIX_BYTES: Final = 20

HELLO: Final = 1
WELCOME: Final = 2
REQUEST: Final = 3
REPLY: Final = 4
STATUS: Final = 5
REPORT: Final = 6

# A request's flag: its items are the spends of one transaction; all are applied, or none.
ONE_TRANSACTION: Final = 1

MAX_REQUEST_HEADER_BYTES: Final = 128
MAX_OPERATION_BYTES: Final = 32
MAX_WELCOME_BYTES: Final = 4096
ARRAY_HEADER_BYTES: Final = 5  # of a body, at most

_PREFIX = struct.Struct("<2sBB16s")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a daemon accepts in one request. It tells its submitters in the handshake.

    max_items: items in one request. max_body_bytes: size of the body frame, in bytes. max_timeout_us: how far ahead
    of the daemon's clock a deadline may lie, in microseconds.
    """

    max_items: int = 10_000
    max_body_bytes: int = 32 * 1024 * 1024
    max_timeout_us: int = 3_600_000_000


# All that unreadable frames raise: what else comes is of a signal's handler, and is not the frame's fault.
_UNREADABLE: Final = (ValueError, TypeError, OverflowError, LookupError, AttributeError)


class ProtocolError(ValueError):
    """Bytes that are not what the protocol says. `code` is the fault to answer with; the message names the field."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


class Prefix(NamedTuple):
    """The first frame of every message. type: HELLO, WELCOME, and so on. request_id: 16 bytes."""

    version: int
    type: int
    request_id: bytes


class RequestHeader(NamedTuple):
    """epoch: the daemon's, from the handshake. deadline: microseconds on the daemon's clock. count: items in the body.
    flags: ONE_TRANSACTION, or 0."""

    epoch: int
    operation: str
    deadline: int
    count: int  # type: ignore[assignment]  # tuple has a method of this name
    flags: int


class Error(NamedTuple):
    """Why an item (or a whole request) failed. retry_after: milliseconds, 0 where asking again later is no use."""

    code: str
    executed: str
    message: str = ""
    retry_after: int = 0
    details: Mapping[str, Any] = {}


class ReplyHeader(NamedTuple):
    """`error` stands for every item of the request; where it is None, `errors` holds those of single items by index."""

    error: Error | None
    count: int  # type: ignore[assignment]  # tuple has a method of this name
    errors: Mapping[int, Error]


def pack_prefix(message_type: int, request_id: bytes) -> bytes:
    """The first frame. message_type: HELLO, WELCOME, and so on. request_id: 16 bytes."""
    return _PREFIX.pack(MAGIC, VERSION, message_type, request_id)


def unpack_prefix(frame: bytes) -> Prefix | None:
    """The prefix, or None where the frame is not one: it then has no request id, and cannot be answered."""
    if len(frame) != PREFIX_BYTES:
        return None
    magic, version, message_type, request_id = _PREFIX.unpack(frame)
    return Prefix(version, message_type, request_id) if magic == MAGIC else None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The daemon's answer to HELLO. epoch: random, one per start. clock: microseconds on the daemon's monotonic
    clock, read when it answered. version: the daemon's own, for people."""

    epoch: int
    clock: int
    limits: Limits
    version: str = ""


def pack_welcome(welcome: Welcome) -> bytes:
    packed: bytes = msgpack.packb(asdict(welcome))
    return packed


def unpack_welcome(frame: bytes) -> Welcome:
    """Raises ProtocolError naming the field that is wrong. Fields it does not know are ignored."""
    if len(frame) > MAX_WELCOME_BYTES:
        raise ProtocolError(codes.INTERNAL, f"welcome: longer than {MAX_WELCOME_BYTES} bytes")
    try:
        fields = msgpack.unpackb(frame)
        limits = {name: fields["limits"][name] for name in ("max_items", "max_body_bytes", "max_timeout_us")}
        numbers = {"epoch": fields["epoch"], "clock": fields["clock"], **limits}
        version = fields.get("version", "")
    except _UNREADABLE:
        raise ProtocolError(codes.INTERNAL, "welcome: not a map of epoch, clock and limits") from None
    for name, value in numbers.items():
        if type(value) is not int or value < (1 if name in limits else 0):
            raise ProtocolError(codes.INTERNAL, f"welcome: {name} is out of range")
    return Welcome(numbers["epoch"], numbers["clock"], Limits(**limits), version if type(version) is str else "")


def pack_request_header(header: RequestHeader) -> bytes:
    packed: bytes = msgpack.packb(header)
    return packed


def unpack_request_header(frame: bytes) -> RequestHeader:
    """Raises ProtocolError (BAD_REQUEST) naming the field that is wrong. Checks shapes and ranges, not meaning."""
    if len(frame) > MAX_REQUEST_HEADER_BYTES:
        raise ProtocolError(codes.BAD_REQUEST, f"header: longer than {MAX_REQUEST_HEADER_BYTES} bytes")
    try:
        fields = msgpack.unpackb(frame, max_array_len=5, max_map_len=0, max_str_len=MAX_OPERATION_BYTES)
    except _UNREADABLE:
        raise ProtocolError(codes.BAD_REQUEST, "header: not a MessagePack array of five") from None
    if type(fields) is not list or len(fields) != 5:
        raise ProtocolError(codes.BAD_REQUEST, "header: not a MessagePack array of five")
    epoch, operation, deadline, count, flags = fields
    if type(operation) is not str:
        raise ProtocolError(codes.BAD_REQUEST, "header: operation is no string")
    for name, value in (("epoch", epoch), ("deadline", deadline), ("count", count), ("flags", flags)):
        if type(value) is not int or value < 0:
            raise ProtocolError(codes.BAD_REQUEST, f"header: {name} is no unsigned integer")
    return RequestHeader(epoch, operation, deadline, count, flags)


def pack_reply_header(header: ReplyHeader) -> bytes:
    """A header without an error says so by the code OK."""
    error = header.error or _NO_ERROR
    packed: bytes = msgpack.packb((*error, header.count, header.errors))
    return packed


def unpack_reply_header(frame: bytes) -> ReplyHeader:
    """Raises ProtocolError where the frame is no reply header."""
    try:
        code, executed, message, retry_after, details, count, errors = msgpack.unpackb(frame, strict_map_key=False)
        error = None if code == codes.OK else _checked_error(code, executed, message, retry_after, details)
        header = ReplyHeader(error, count, {index: _checked_error(*fields) for index, fields in errors.items()})
        if type(count) is not int or count < 0 or any(type(i) is not int or not 0 <= i < count for i in header.errors):
            raise ValueError("count or an index is out of range")
        return header
    except _UNREADABLE:
        raise ProtocolError(codes.INTERNAL, "reply header: not what the protocol says") from None


def _checked_error(code: str, executed: str, message: str, retry_after: int, details: Mapping[str, Any]) -> Error:
    if type(code) is not str or code == codes.OK or executed not in (codes.NO, codes.UNKNOWN):
        raise ValueError("code or executed")
    if type(message) is not str or type(retry_after) is not int or retry_after < 0 or type(details) is not dict:
        raise ValueError("message, retry_after or details")
    return Error(code, executed, message, retry_after, details)


_NO_ERROR: Final = Error(codes.OK, "")


@lru_cache(maxsize=1024)
def ok_header(count: int) -> bytes:
    """The reply header of a request whose items are all well."""
    return pack_reply_header(ReplyHeader(None, count, {}))


def error_header(error: Error, count: int = 0) -> bytes:
    """The reply header of a request that failed as a whole."""
    return pack_reply_header(ReplyHeader(error, count, {}))


def pack_report(report: Mapping[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(report)
    return packed


def unpack_report(frame: bytes) -> dict[str, Any]:
    """Raises ProtocolError where the frame is no map, or a number in it is none (NaN, infinity): nobody can reckon with
    that, or write it as JSON."""
    try:
        report = msgpack.unpackb(frame, strict_map_key=False)
    except _UNREADABLE:
        raise ProtocolError(codes.INTERNAL, "report: not MessagePack") from None
    if type(report) is not dict:
        raise ProtocolError(codes.INTERNAL, "report: not a map")
    left: list[tuple[str, Any]] = [("", report)]
    while left:
        place, value = left.pop()
        if type(value) is float and not math.isfinite(value):
            found = f"report: {place} is {value}, and no number: keep the daemon's log, and restart it"
            raise ProtocolError(codes.INTERNAL, found)
        inner = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
        left += [(f"{place}.{key}" if place else str(key), each) for key, each in inner]
    return report


def pack_body(values: Sequence[Any]) -> bytes:
    packed: bytes = msgpack.packb(values)
    return packed


def unpack_body(frame: bytes | memoryview, count: int | None) -> list[Any]:
    """An array of `count` values (None: of any number). Raises ProtocolError (BAD_REQUEST) where it is not such.

    MessagePack lengths are bounded by the frame's own size, which was checked before; nesting is bounded by the
    decoder.
    """
    try:
        values = msgpack.unpackb(frame, strict_map_key=False)
    except _UNREADABLE:
        raise ProtocolError(codes.BAD_REQUEST, "body: not MessagePack") from None
    if type(values) is not list or (count is not None and len(values) != count):
        raise ProtocolError(codes.BAD_REQUEST, f"body: not an array of {count} items, as the header says")
    return values


EMPTY_BODY: Final = pack_body([])


def concatenate_results(packed: Sequence[bytes]) -> bytes:
    """The body whose items are these packed values."""
    header: bytes = msgpack.Packer().pack_array_header(len(packed))
    return header + b"".join(packed)
