"""A call that is larger than the daemon's limits: it is sent in pieces, and settled when all of them are."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from .. import codes
from ..wire import ARRAY_HEADER_BYTES, ONE_TRANSACTION, Error, Limits
from .call import NO_ERRORS, Call


class SplitCall:
    """Puts the results of the pieces together, until none is open."""

    __slots__ = ("call", "errors", "ids", "open_pieces", "results")

    def __init__(self, call: Call, open_pieces: int) -> None:
        self.call = call
        self.open_pieces = open_pieces
        self.results: list[Any] = [None] * call.count
        self.errors: dict[int, Error] = {}
        self.ids: dict[int, str] = {}
        call.ids = self.ids

    def add(self, piece: "CallPiece") -> Call | None:
        """Takes the results of a settled piece. Returns the caller's call where it was the last one."""
        self.results[piece.start : piece.start + piece.count] = piece.results
        for index, error in piece.errors.items():
            self.errors[piece.start + index] = error
            self.ids[piece.start + index] = piece.id_of(index)
        self.open_pieces -= 1
        return None if self.open_pieces else self.call.settle(self.results, self.errors)


class CallPiece(Call):
    """A run of a larger call's items, beginning at its item `start`."""

    __slots__ = ("split", "start")

    split: SplitCall

    def __init__(self, call: Call, start: int, count: int, payload: memoryview) -> None:
        super().__init__(call.operation, payload, count)
        self.deadline = call.deadline
        self.start = start

    def settle(self, results: Sequence[Any], errors: Mapping[int, Error] = NO_ERRORS) -> Call | None:
        super().settle(results, errors)
        return self.split.add(self)


def ids_of(call: Call) -> dict[int, str]:
    """How each item of a call that is open is told, by index, whether it is split or not."""
    starts = [(piece.start if isinstance(piece, CallPiece) else 0, piece) for piece in call.pieces]
    return {start + index: piece.id_of(index) for start, piece in starts for index in range(piece.count)}


def fits(call: Call, limits: Limits) -> bool:
    """Whether the call goes into one request."""
    return call.count <= limits.max_items and len(call.payload) + ARRAY_HEADER_BYTES <= limits.max_body_bytes


def split(call: Call, limits: Limits) -> tuple[list[CallPiece], Call | None]:
    """The pieces of a call that does not fit, to be sent in its place; and the call where it is settled already.

    An item too large for any request is a piece of its own that has failed, TOO_LARGE. The spends of one transaction
    are not split: they fail.
    """
    if call.flags & ONE_TRANSACTION:
        return [], call.fail(Error(codes.TOO_LARGE, codes.NO, _limits_text("the transaction's spends are", limits)))
    call.pieces = pieces = _pieces(call, limits)
    whole = SplitCall(call, len(pieces))
    settled: Call | None = None
    sendable: list[CallPiece] = []
    for piece in pieces:
        piece.split = whole
        if fits(piece, limits):
            sendable.append(piece)
        else:
            settled = piece.fail(Error(codes.TOO_LARGE, codes.NO, _limits_text("the item is", limits)))
    return sendable, settled


def _pieces(call: Call, limits: Limits) -> list[CallPiece]:
    payload = memoryview(call.payload)
    room = limits.max_body_bytes - ARRAY_HEADER_BYTES
    unpacker = msgpack.Unpacker(max_buffer_size=len(payload))
    unpacker.feed(payload)
    pieces: list[CallPiece] = []
    first = begin = end = 0
    for index in range(call.count):
        unpacker.skip()
        after = unpacker.tell()
        if index > first and (index - first == limits.max_items or after - begin > room):
            pieces.append(CallPiece(call, first, index - first, payload[begin:end]))
            first, begin = index, end
        end = after
    pieces.append(CallPiece(call, first, call.count - first, payload[begin:end]))
    return pieces


def _limits_text(what: str, limits: Limits) -> str:
    return f"{what} larger than the daemon takes: {limits.max_items} items, {limits.max_body_bytes} bytes"
