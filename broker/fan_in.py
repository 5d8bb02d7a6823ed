"""Fan-in: the replies to an entry's parts become its one reply, so that no worker ever waits for other work."""

from collections.abc import Sequence
from typing import Final

from protocol.codes import INTERNAL, UNKNOWN
from protocol.wire import (
    Error,
    ProtocolError,
    ReplyHeader,
    concatenate_results,
    pack_reply_header,
    unpack_body,
    unpack_reply_header,
)

from .entry import Body, Entry

_NIL: Final = b"\xc0"


class FollowUpFanIn:
    """Of a request that was executed, and whose items fail where their follow-ups do. header, body: its worker's."""

    def __init__(self, parts: Sequence[Entry], header: bytes, body: Body) -> None:
        self.parts = dict.fromkeys(parts)
        self.errors: dict[int, Error] = {}
        self._header = header
        self._body = body

    def resolve(self, part: Entry, error: Error | None, body: Body) -> None:
        del self.parts[part]
        if error is not None:
            # The parent's own part was executed: a part's `no` is never the whole's.
            self.errors[part.parent_item] = error._replace(executed=UNKNOWN)

    def reply(self) -> tuple[bytes, Body]:
        reply = unpack_reply_header(self._header)
        if reply.error is not None or not self.errors:
            return self._header, self._body
        return pack_reply_header(reply._replace(errors={**reply.errors, **self.errors})), self._body


class ReadFanIn:
    """Of a request of several reads that lost its worker: each is a part, dispatched again alone."""

    def __init__(self, parts: Sequence[Entry]) -> None:
        self.parts = dict.fromkeys(parts)
        self.errors: dict[int, Error] = {}
        self._results = [_NIL] * len(parts)

    def resolve(self, part: Entry, error: Error | None, body: Body) -> None:
        del self.parts[part]
        result = bytes(body)
        if error is None:
            try:
                unpack_body(result, 1)
            except ProtocolError as fault:
                # It would shift the results of the others.
                error = Error(INTERNAL, UNKNOWN, str(fault))
        if error is not None:
            self.errors[part.parent_item] = error
        else:
            # An array of one is one byte, then its element.
            self._results[part.parent_item] = result[1:]

    def reply(self) -> tuple[bytes, Body]:
        return pack_reply_header(ReplyHeader(None, len(self._results), self.errors)), concatenate_results(self._results)
