"""The items of one dispatch: each is completed exactly once.

A second completion is ignored and counted; what is not completed when the operation ends or raises is failed by its
runner. So no item can be forgotten, answered twice, or take the answer of another: results are kept by index.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from protocol import codes, wire
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error, ProtocolError, ReplyHeader
from protocol.worker_wire import Assignment, FollowUp

_OPEN: Final = object()


class Request(NamedTuple):
    """One request of the dispatch: its items are `batch.items[start:end]`. error: what is wrong with it as a whole."""

    start: int
    end: int
    flags: int
    error: Error | None


class Batch:
    """items: what the submitters sent, undecoded beyond MessagePack. ignored: completions that came second. timed_out:
    the store gave no answer to a whole call, in all the time that there was."""

    def __init__(self, parts: Sequence[Assignment], bodies: Sequence[Any], now: int) -> None:
        """now: microseconds on the daemon's clock; what has expired by then is failed, untouched."""
        self.items: list[Any] = []
        self.requests: list[Request] = []
        self.follow_ups: list[FollowUp] = []
        self.ignored = 0
        self.timed_out = False
        for part, body in zip(parts, bodies, strict=True):
            self._add(part, body, now)
        self._results: list[Any] = [_OPEN] * len(self.items)
        self._errors: dict[int, Error] = {}

    def _add(self, part: Assignment, body: Any, now: int) -> None:
        start = len(self.items)
        error = None
        if part.deadline and part.deadline <= now:
            error = Error(codes.DEADLINE_EXCEEDED, NO, "expired before execution")
        else:
            try:
                items = wire.unpack_body(body, part.items if part.only is None else None)
                self.items += items if part.only is None else [items[part.only]]
            except (ProtocolError, IndexError) as fault:
                error = Error(codes.BAD_REQUEST, NO, str(fault))
        self.requests.append(Request(start, len(self.items), part.flags, error))

    def __len__(self) -> int:
        return len(self.items)

    def open(self) -> list[int]:
        """The indices of the items that are not completed."""
        return [index for index, result in enumerate(self._results) if result is _OPEN]

    def complete(self, index: int, result: Any) -> None:
        """The item is done, and this is its result: a value that MessagePack can hold."""
        if self._results[index] is not _OPEN:
            self.ignored += 1
            return
        self._results[index] = result

    def fail(self, index: int, error: Error) -> None:
        if self._results[index] is not _OPEN:
            self.ignored += 1
            return
        self._results[index] = None
        self._errors[index] = error

    def fail_open(self, error: Error) -> None:
        """Fails whatever is not completed."""
        for index in self.open():
            self.fail(index, error)

    def owe(self, operation: str, key: bytes, records: int, item: Sequence[Any]) -> None:
        """Follow-up work that nobody waits for: it is never refused, and never expires."""
        self.follow_ups.append(FollowUp(None, 0, operation, key, records, wire.pack_body([item])))

    def follow(self, index: int, operation: str, key: bytes, records: int, item: Sequence[Any]) -> None:
        """Follow-up work that the item's answer waits for."""
        for number, request in enumerate(self.requests):
            if request.start <= index < request.end:
                self.follow_ups.append(
                    FollowUp(number, index - request.start, operation, key, records, wire.pack_body([item]))
                )
                return

    def replies(self) -> list[bytes]:
        """A reply header and a reply body per request."""
        frames: list[bytes] = []
        for request in self.requests:
            frames += self._reply(request)
        return frames

    def _reply(self, request: Request) -> list[bytes]:
        start, end, _, error = request
        if error is not None:
            return [wire.error_header(error), wire.EMPTY_BODY]
        results = self._results[start:end]
        errors = {index - start: error for index, error in self._errors.items() if start <= index < end}
        try:
            body = wire.pack_body(results)
        except (TypeError, ValueError, OverflowError) as fault:
            # The store held something that MessagePack can't carry.
            return [wire.error_header(Error(codes.INTERNAL, UNKNOWN, f"result: {fault}"), end - start), wire.EMPTY_BODY]
        header = wire.pack_reply_header(ReplyHeader(None, end - start, errors))
        return [header, body]
