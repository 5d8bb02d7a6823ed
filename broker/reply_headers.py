"""What the broker reads in the header of a worker's reply, and changes there. Bodies it passes on unread."""

from collections import Counter
from functools import lru_cache
from typing import Final, NamedTuple

from protocol.codes import FAULTS, INTERNAL, OK, UNKNOWN
from protocol.wire import Error, ProtocolError, ReplyHeader, ok_header, pack_reply_header, unpack_reply_header

_UNKNOWN: Final = UNKNOWN.encode()


class Outcome(NamedTuple):
    """What a reply says. code: of the request as a whole, OK where it was executed item by item. failed: how many of
    its items failed, by code. reply: the header, where it had to be decoded."""

    code: str
    failed: Counter[str]
    reply: ReplyHeader | None = None


ALL_WELL: Final = Outcome(OK, Counter())


@lru_cache(maxsize=1024)
def _all_well(item_count: int) -> bytes:
    return ok_header(item_count)


def outcome_of(header: bytes, item_count: int) -> Outcome:
    """Raises ProtocolError where the frame is no header of a reply to so many items: its submitter could not read it.
    Decoded only where it does not plainly say that all is well, which is ALL_WELL itself."""
    if header == _all_well(item_count):
        return ALL_WELL
    reply = unpack_reply_header(header)
    if reply.error is not None:
        return failed_as_a_whole(reply.error.code, item_count)._replace(reply=reply)
    if reply.count != item_count:
        raise ProtocolError(INTERNAL, f"reply header: of {reply.count} items, where there are {item_count}")
    return Outcome(OK, Counter(error.code for error in reply.errors.values()), reply)


def failed_as_a_whole(code: str, item_count: int) -> Outcome:
    """Of a request of so many items."""
    return Outcome(code, Counter({code: item_count}))


def part_error(header: bytes) -> Error | None:
    """What went wrong with a part of one item; None where it is well."""
    reply = unpack_reply_header(header)
    return reply.error or reply.errors.get(0)


def leaves_open(header: bytes) -> bool:
    """Whether it is not known of an item what was executed. Decoded only where the word stands in it."""
    if _UNKNOWN not in header:
        return False
    reply = unpack_reply_header(header)
    return any(error.executed == UNKNOWN for error in (reply.error, *reply.errors.values()) if error)


def retried_header(header: bytes) -> bytes:
    """What is answered where a read that had lost a worker gets this header from its second. A fault's `no` holds for
    the second dispatch alone: the first may have executed the item."""
    reply = unpack_reply_header(header)
    if reply.error is None and not reply.errors:
        return header
    errors = {index: _as_unknown(error) for index, error in reply.errors.items()}
    return pack_reply_header(reply._replace(error=reply.error and _as_unknown(reply.error), errors=errors))


def _as_unknown(error: Error) -> Error:
    return error._replace(executed=UNKNOWN) if error.code in FAULTS else error
