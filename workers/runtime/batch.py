"""The items of one dispatch: each is completed exactly once.

A second completion is ignored and counted; what is not completed when the operation ends or raises is failed by the
executor. So no item can be forgotten, answered twice, or take the answer of another: results are kept by index.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.msgpack import Encoder

from protocol import codes, wire
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error, ProtocolError, ReplyHeader
from protocol.worker_wire import Assignment, FollowUp

from .item_checks import BadItem
from .item_shape import Shape

T = TypeVar("T")

_UNCOMPLETED: Final = object()
_encode: Final = Encoder().encode
_start: Final = attrgetter("start")


class Request(Struct, frozen=True, gc=False):
    """One request of the dispatch: its items are `batch.items[start:end]`. error: what is wrong with it as a whole."""

    start: int
    end: int
    flags: int
    error: Error | None

    @property
    def indices(self) -> range:
        """Of its items, in the batch."""
        return range(self.start, self.end)


class Batch:
    """items: what the submitters sent. bad_items: the errors of those that are not of the operation's shape, by index.
    ignored: completions that came second. timed_out: the store gave no answer to a whole call, in all the time that
    there was. store_seconds: that calls of the store took."""

    def __init__(self, assignments: Sequence[Assignment], bodies: Sequence[Any], now: int, shape: Shape | None) -> None:
        """bodies: one per assignment. now: microseconds on the daemon's clock; what has expired by then is failed,
        untouched. shape: of the items; None where the operation checks them by itself."""
        self.items: list[Any] = []
        self.bad_items: dict[int, Error] = {}
        self.requests: list[Request] = []
        self.follow_ups: list[FollowUp] = []
        self.ignored = 0
        self.timed_out = False
        self.store_seconds = 0.0
        for assignment, body in zip(assignments, bodies, strict=True):
            self._add(assignment, body, now, shape)
        self._results: list[Any] = [_UNCOMPLETED] * len(self.items)
        self._errors: dict[int, Error] = {}

    def _add(self, assignment: Assignment, body: Any, now: int, shape: Shape | None) -> None:
        start = len(self.items)
        error = None
        if assignment.deadline and assignment.deadline <= now:
            error = Error(codes.DEADLINE_EXCEEDED, NO, "expired before execution")
        else:
            try:
                self.items += self._decode(assignment, body, shape)
            except (ProtocolError, IndexError) as fault:
                error = Error(codes.BAD_REQUEST, NO, str(fault))
        self.requests.append(Request(start, len(self.items), assignment.flags, error))

    def _decode(self, assignment: Assignment, body: Any, shape: Shape | None) -> Sequence[Any]:
        """The items of a request that are to be executed. Raises ProtocolError, IndexError."""
        count = assignment.item_count if assignment.only is None else None
        decoded = None if shape is None else shape.decode(body, count)
        items = wire.unpack_body(body, count) if decoded is None else decoded
        if assignment.only is not None:
            items = [items[assignment.only]]
        if shape is not None and decoded is None:
            self._check(items, shape)
        return items

    def _check(self, items: Sequence[Any], shape: Shape) -> None:
        for index, item in enumerate(items, start=len(self.items)):
            try:
                shape.check(item)
            except BadItem as fault:
                self.bad_items[index] = fault.error

    def __len__(self) -> int:
        return len(self.items)

    def uncompleted(self) -> list[int]:
        """The indices of the items that are not completed."""
        return [index for index, result in enumerate(self._results) if result is _UNCOMPLETED]

    def good_items(self) -> Iterable[tuple[int, Any]]:
        """Index and item of those that are not bad."""
        if not self.bad_items:
            return enumerate(self.items)
        return [(index, item) for index, item in enumerate(self.items) if index not in self.bad_items]

    def fail_bad_items(self) -> None:
        for index, error in self.bad_items.items():
            self.fail(index, error)

    def parse(self, parse: Callable[[Any], T]) -> dict[int, T]:
        """What `parse` makes of each good item, by index. An item for which it raises BadItem is failed, alone, as the
        bad ones are."""
        self.fail_bad_items()
        parsed: dict[int, T] = {}
        for index, item in self.good_items():
            try:
                parsed[index] = parse(item)
            except BadItem as fault:
                self.fail(index, fault.error)
        return parsed

    def complete(self, index: int, result: Any) -> None:
        """The item is done, and this is its result: a value that MessagePack can hold."""
        if self._results[index] is not _UNCOMPLETED:
            self.ignored += 1
            return
        self._results[index] = result

    def fail(self, index: int, error: Error) -> None:
        """The item is done, and this is its error."""
        if self._results[index] is not _UNCOMPLETED:
            self.ignored += 1
            return
        self._results[index] = None
        self._errors[index] = error

    def complete_unless(self, error: Error | None, index: int, result: Any) -> None:
        """Fails the item where there is an error."""
        if error is None:
            self.complete(index, result)
        else:
            self.fail(index, error)

    def fail_uncompleted(self, error: Error) -> None:
        for index in self.uncompleted():
            self.fail(index, error)

    def add_owed_follow_up(self, operation: str, key: bytes, records: int, item: Sequence[Any]) -> None:
        """A follow-up that nobody waits for: it is never refused, and never expires. key: of the record that it is
        about. records: how many it touches. item: what the operation is given."""
        self.follow_ups.append(FollowUp(None, 0, operation, key, records, wire.pack_body([item])))

    def add_awaited_follow_up(self, index: int, operation: str, key: bytes, records: int, item: Sequence[Any]) -> None:
        """A follow-up that the answer of the item at this index waits for; the rest as of an owed one."""
        number = bisect_right(self.requests, index, key=_start) - 1  # those without items stand before it
        item_index = index - self.requests[number].start
        self.follow_ups.append(FollowUp(number, item_index, operation, key, records, wire.pack_body([item])))

    def replies(self) -> list[bytes]:
        """A reply header and a reply body per request."""
        frames: list[bytes] = []
        for request in self.requests:
            frames += self._reply(request)
        return frames

    def _reply(self, request: Request) -> list[bytes]:
        start, end = request.start, request.end
        if request.error is not None:
            return [wire.error_header(request.error), wire.EMPTY_BODY]
        try:
            body = _encode(self._results[start:end])
        except Exception:
            body = wire.concatenate_results([self._pack(index) for index in request.indices])
        if not self._errors:
            return [wire.ok_header(end - start), body]
        errors = {index - start: self._errors[index] for index in request.indices if index in self._errors}
        return [wire.pack_reply_header(ReplyHeader(None, end - start, errors)), body]

    def _pack(self, index: int) -> bytes:
        """The item's result. Where it is something that MessagePack can't carry, because the store held it, the item
        fails."""
        try:
            return _encode(self._results[index])
        except Exception as fault:
            self._errors[index] = Error(codes.INTERNAL, UNKNOWN, f"result: {fault}")
            return _encode(None)
