"""One call of one caller, from the moment it is asked until it is settled."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..wire import Error

REPORT_CALL: Final = ""  # in place of an operation's name: the call asks for the daemon's report

NO_ERRORS: Final[Mapping[int, Error]] = {}


class Call:
    """operation: its name on the wire. payload: the MessagePack of `count` items, one after the other. flags: the
    request's. deadline: seconds on the client's clock. waiter: the driver's own, to wake the caller; None where nobody
    waits. Settled, `results` holds a value per item, and `errors` the error of each that failed, by index. request_id:
    of the request that it was sent in, as its items from `first` on; empty where it never was. ids: in place of these
    where its items were in several requests: how each that failed is told, by index."""

    __slots__ = (
        "count",
        "deadline",
        "errors",
        "first",
        "flags",
        "ids",
        "operation",
        "payload",
        "pieces",
        "request",
        "request_id",
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
        self.errors: Mapping[int, Error] = NO_ERRORS
        self.request: Any = None  # the session's, from when it is packed
        self.request_id = b""
        self.first = 0
        self.ids: Mapping[int, str] | None = None
        self.pieces: Sequence[Call] = (self,)  # what is sent for it: itself, unless it is split

    @property
    def settled(self) -> bool:
        return not self.pieces

    def id_of(self, index: int) -> str:
        """What an operator asks `utxod explain` for: the request that the item was in, and its index there; empty where
        it was never sent."""
        if self.ids is not None:
            return self.ids.get(index, "")
        return f"{self.request_id.hex()}/{self.first + index}" if self.request_id else ""

    def settle(self, results: Sequence[Any], errors: Mapping[int, Error] = NO_ERRORS) -> "Call | None":
        """Returns the caller's call where this settles it and somebody waits for it."""
        self.results, self.errors = results, errors
        self.payload, self.request, self.pieces = b"", None, ()
        return self if self.waiter is not None else None

    def fail(self, error: Error) -> "Call | None":
        """Settles every item with the same error. Returns what `settle` does."""
        return self.settle([None] * self.count, dict.fromkeys(range(self.count), error))
