"""The error of an item for each way in which the store can fail it."""

from typing import Final

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import Result, Status, StoreError

from .alignment import NO_RESULT

_STATUS_CODES: Final = {
    Status.NOT_FOUND: (codes.TX_NOT_FOUND, "is not in the set"),
    Status.EXISTS: (codes.TX_EXISTS, "is in the set already"),
}
# Refused by the store before it did anything, for now: the code, and when it is worth asking again, in milliseconds.
_REFUSED: Final = {Status.OVERLOADED: (codes.OVERLOADED, 100), Status.UNAVAILABLE: (codes.UNAVAILABLE, 100)}


def error_of_record(result: Result, what: str) -> Error:
    """Of a record whose result is not OK. what: the record, in words."""
    if result.status in _STATUS_CODES:
        code, text = _STATUS_CODES[result.status]
        return Error(code, NO, f"{what}: {text}")
    if result is NO_RESULT:
        return Error(codes.INTERNAL, UNKNOWN, f"{what}: {result.message}")
    if result.status in _REFUSED:
        code, retry_after = _REFUSED[result.status]
        return Error(code, NO, f"{what}: {result.message}", retry_after)
    return Error(codes.STORE_ERROR, UNKNOWN if result.in_doubt else NO, f"{what}: {result.message or result.status}")


def error_of_batch(error: StoreError, executed: str) -> Error:
    """Of every item of a batch that the store failed as a whole. executed: NO or UNKNOWN."""
    code, retry_after = codes.STORE_ERROR, 0
    if executed == NO and error.status in _REFUSED:
        code, retry_after = _REFUSED[error.status]
    return Error(code, executed, str(error), retry_after)


def error_of_exception(error: Exception, executed: str) -> Error:
    """Of every item that was being worked on when this was raised. executed: NO or UNKNOWN."""
    if isinstance(error, StoreError):
        return error_of_batch(error, executed)
    return Error(codes.INTERNAL, executed, f"{type(error).__name__}: {error}")


def error_of_unreadable(what: str, why: object) -> Error:
    """Of a record whose content, or a rule whose answer, can't be what the store returned. what: in words."""
    return Error(codes.INTERNAL, UNKNOWN, f"{what}: the store's result can't be read: {why}")
