"""The error of a child record that is missing."""

from protocol import codes
from protocol.wire import Error


def as_child_error(error: Error, child: int) -> Error:
    """The error that a child record gave, where the master says that there is one: its absence is a fault, never "there
    is no such transaction"."""
    if error.code != codes.TX_NOT_FOUND:
        return error
    return Error(codes.STORE_ERROR, error.executed, f"child record {child} is missing")
