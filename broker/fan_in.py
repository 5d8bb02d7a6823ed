"""Answers that wait for parts: the broker joins them, so that no worker ever waits for other work.

A join holds the `parts` it still waits for. `settle` takes one that is done, well where `error` is None; once none is
left, `answer` is the reply's header and body.
"""

from collections import Counter
from functools import lru_cache
from typing import Final

from protocol.codes import FAULTS, INTERNAL, UNKNOWN
from protocol.wire import (
    Error,
    ProtocolError,
    ReplyHeader,
    join_results,
    ok_header,
    pack_reply_header,
    unpack_body,
    unpack_reply_header,
)

from .ledger import Body, Entry

_NIL: Final = b"\xc0"
_UNKNOWN: Final = UNKNOWN.encode()
_NONE_FAILED: Final[Counter[str]] = Counter()


@lru_cache(maxsize=1024)
def _well(count: int) -> bytes:
    return ok_header(count)


def check_header(header: bytes, count: int) -> Counter[str]:
    """How many of its items failed, by code. Raises ProtocolError where the frame is no header of a reply to `count`
    items: its submitter could not read it. Decoded only where it does not plainly say that all is well."""
    if header == _well(count):
        return _NONE_FAILED
    reply = unpack_reply_header(header)
    if reply.error is not None:
        return Counter({reply.error.code: count})
    if reply.count != count:
        raise ProtocolError(INTERNAL, f"reply header: of {reply.count} items, where there are {count}")
    return Counter(error.code for error in reply.errors.values())


def part_error(header: bytes) -> Error | None:
    """What went wrong with a part of one item, read from its reply header; None where it is well."""
    reply = unpack_reply_header(header)
    return reply.error or reply.errors.get(0)


def leaves_open(header: bytes) -> bool:
    """Whether it is not known of an item what was executed. Decoded only where the word stands in it."""
    if _UNKNOWN not in header:
        return False
    reply = unpack_reply_header(header)
    return any(error.executed == UNKNOWN for error in (reply.error, *reply.errors.values()) if error)


def second_header(header: bytes) -> bytes:
    """The reply header of a read that had lost a worker before."""
    reply = unpack_reply_header(header)
    if reply.error is None and not reply.errors:
        return header
    errors = {index: _second_error(error) for index, error in reply.errors.items()}
    return pack_reply_header(reply._replace(error=reply.error and _second_error(reply.error), errors=errors))


def _second_error(error: Error) -> Error:
    """A fault's `no` holds for the second dispatch alone: the first may have executed the item."""
    return error._replace(executed=UNKNOWN) if error.code in FAULTS else error


class FollowUpJoin:
    """A request that was executed, and whose items fail where their follow-ups do. header, body: the reply so far."""

    def __init__(self, header: bytes, body: Body) -> None:
        self.parts: dict[Entry, None] = {}
        self.errors: dict[int, Error] = {}
        self._header = header
        self._body = body

    def settle(self, part: Entry, error: Error | None, body: Body) -> None:
        del self.parts[part]
        if error is not None:
            # The parent's own part was executed: a part's `no` is never the whole's.
            self.errors[part.item] = error._replace(executed=UNKNOWN)

    def answer(self) -> tuple[bytes, Body]:
        reply = unpack_reply_header(self._header)
        if reply.error is not None or not self.errors:
            return self._header, self._body
        return pack_reply_header(reply._replace(errors={**reply.errors, **self.errors})), self._body


class ReadJoin:
    """A request of several reads that lost its worker: each is dispatched again alone, so that a poisonous one takes no
    neighbour with it."""

    def __init__(self, count: int) -> None:
        self.parts: dict[Entry, None] = {}
        self.errors: dict[int, Error] = {}
        self._results: list[bytes] = [_NIL] * count

    def settle(self, part: Entry, error: Error | None, body: Body) -> None:
        del self.parts[part]
        result = bytes(body)
        if error is None:
            try:
                unpack_body(result, 1)
            except ProtocolError as fault:
                # It would shift the results of the others.
                error = Error(INTERNAL, UNKNOWN, str(fault))
        if error is not None:
            self.errors[part.item] = _second_error(error)
        else:
            # An array of one is one byte, then its element.
            self._results[part.item] = result[1:]

    def answer(self) -> tuple[bytes, Body]:
        return pack_reply_header(ReplyHeader(None, len(self._results), self.errors)), join_results(self._results)


Join = FollowUpJoin | ReadJoin
