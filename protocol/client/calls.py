"""One call of one caller, from the moment it is asked until it is settled; split where it is larger than the limits."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack

from .. import codes
from ..wire import ARRAY_HEADER_BYTES, ONE_TRANSACTION, Error, Limits

STATUS: Final = ""  # the operation of a call that asks for the daemon's report

_NO_ERRORS: Final[Mapping[int, Error]] = {}


class Call:
    """operation: its name on the wire. payload: the MessagePack of `count` items, one after the other. flags: the
    request's. deadline: seconds on the client's clock. waiter: the edge's own, to wake the caller; None where nobody
    waits. Settled, `results` holds a value per item, and `errors` the error of each that failed, by index."""

    __slots__ = (
        "count",
        "deadline",
        "errors",
        "flags",
        "operation",
        "parts",
        "payload",
        "request",
        "results",
        "waiter",
    )

    def __init__(self, operation: str, payload: bytes | memoryview, count: int, flags: int = 0) -> None:
        self.operation = operation
        self.payload = payload
        self.count = count
        self.flags = flags
        self.deadline = 0.0
        self.waiter: Any = None
        self.results: Sequence[Any] = ()
        self.errors: Mapping[int, Error] = _NO_ERRORS
        self.request: Any = None  # the session's, from when it is packed
        self.parts: Sequence[Call] = (self,)

    @property
    def settled(self) -> bool:
        return not self.parts

    def settle(self, results: Sequence[Any], errors: Mapping[int, Error] = _NO_ERRORS) -> "Call | None":
        """Returns the caller's call if it is settled by this."""
        self.results, self.errors = results, errors
        self.payload, self.request, self.parts = b"", None, ()
        return self if self.waiter is not None else None

    def fail(self, error: Error) -> "Call | None":
        """Settles every item with the same error."""
        return self.settle([None] * self.count, dict.fromkeys(range(self.count), error))


class SplitCall:
    """A call that is larger than the limits, while its parts are under way."""

    __slots__ = ("call", "errors", "open_parts", "results")

    def __init__(self, call: Call, open_parts: int) -> None:
        self.call = call
        self.open_parts = open_parts
        self.results: list[Any] = [None] * call.count
        self.errors: dict[int, Error] = {}

    def join(self, part: "Part") -> Call | None:
        self.results[part.start : part.start + part.count] = part.results
        self.errors.update((part.start + index, error) for index, error in part.errors.items())
        self.open_parts -= 1
        return None if self.open_parts else self.call.settle(self.results, self.errors)


class Part(Call):
    """A run of a larger call's items, beginning at its item `start`."""

    __slots__ = ("split", "start")

    split: SplitCall

    def __init__(self, call: Call, start: int, count: int, payload: memoryview) -> None:
        super().__init__(call.operation, payload, count)
        self.deadline = call.deadline
        self.start = start

    def settle(self, results: Sequence[Any], errors: Mapping[int, Error] = _NO_ERRORS) -> Call | None:
        super().settle(results, errors)
        return self.split.join(self)


def fits(call: Call, limits: Limits) -> bool:
    return call.count <= limits.max_items and len(call.payload) + ARRAY_HEADER_BYTES <= limits.max_body_bytes


def split(call: Call, limits: Limits) -> tuple[list[Part], Call | None]:
    """The parts of a call that does not fit, to be sent in its place; and the call where it is settled already.

    An item too large for any request is a part of its own that has failed, TOO_LARGE. The spends of one transaction are
    not split: they fail.
    """
    if call.flags & ONE_TRANSACTION:
        return [], call.fail(Error(codes.TOO_LARGE, codes.NO, _limits_text("the transaction's spends are", limits)))
    call.parts = parts = _parts(call, limits)
    joint = SplitCall(call, len(parts))
    settled: Call | None = None
    good: list[Part] = []
    for part in parts:
        part.split = joint
        if fits(part, limits):
            good.append(part)
        else:
            settled = part.fail(Error(codes.TOO_LARGE, codes.NO, _limits_text("the item is", limits)))
    return good, settled


def _parts(call: Call, limits: Limits) -> list[Part]:
    payload = memoryview(call.payload)
    room = limits.max_body_bytes - ARRAY_HEADER_BYTES
    unpacker = msgpack.Unpacker(max_buffer_size=len(payload))
    unpacker.feed(payload)
    parts: list[Part] = []
    first = begin = end = 0
    for index in range(call.count):
        unpacker.skip()
        after = unpacker.tell()
        if index > first and (index - first == limits.max_items or after - begin > room):
            parts.append(Part(call, first, index - first, payload[begin:end]))
            first, begin = index, end
        end = after
    parts.append(Part(call, first, call.count - first, payload[begin:end]))
    return parts


def _limits_text(what: str, limits: Limits) -> str:
    return f"{what} larger than the daemon takes: {limits.max_items} items, {limits.max_body_bytes} bytes"
