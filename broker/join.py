"""Answers that wait for parts: the broker joins them, so that no worker ever waits for other work.

A join holds the `parts` it still waits for. `settle` takes one that is done, well where `error` is None; once none is
left, `answer` is the reply's header and body.
"""

from typing import Final

from protocol.codes import INTERNAL, UNKNOWN
from protocol.wire import Error, ProtocolError, ReplyHeader, join_results, pack_reply_header, unpack_reply_header

from .ledger import Body, Entry

_NIL: Final = b"\xc0"


def part_error(header: bytes) -> Error | None:
    """What went wrong with a part of one item, read from its reply header; None where it is well."""
    try:
        reply = unpack_reply_header(header)
    except ProtocolError as error:
        return Error(INTERNAL, UNKNOWN, str(error))
    return reply.error or reply.errors.get(0)


class FollowUpJoin:
    """A request that was executed, and whose items fail where their follow-ups do."""

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
        if not self.errors:
            return self._header, self._body
        reply = unpack_reply_header(self._header)
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
        if error is not None:
            self.errors[part.item] = error
        else:
            # An array of one is one byte, then its element.
            self._results[part.item] = bytes(body)[1:]

    def answer(self) -> tuple[bytes, Body]:
        return pack_reply_header(ReplyHeader(None, len(self._results), self.errors)), join_results(self._results)


Join = FollowUpJoin | ReadJoin
