"""A call that is asked again and again: what of it may be, and when; and what all attempts together have come to. No
I/O, no clock, no randomness: the attempts are made by retrying.py, which tells what each was answered.

Asked again is an item that was not executed, for a reason that passes; or one of which nobody knows whether it was
executed, where its operation may be asked twice. `unknown` stays: a later `no` says nothing of the attempt before it.
And an attempt whose time was over before it left says nothing of the item: what it was answered before stands.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack

from .. import codes
from ..wire import ONE_TRANSACTION, Error
from .call import REPORT_CALL, Call

FIRST_PAUSE: Final = 0.05  # seconds, where the daemon names none; doubled each time, up to
LONGEST_PAUSE: Final = 2.0
TOGETHER: Final = 0.1  # items that fall due within this many seconds of each other are asked together

_MOST_TOLD: Final = 5  # earlier attempts of an item

# Codes of what was not executed, and may be when it is asked again.
PASSING: Final = codes.FAULTS - {codes.BAD_REQUEST, codes.TOO_LARGE, codes.UNSUPPORTED} | {
    codes.CREATING,
    codes.ABANDONED,
}

# By operation: whether it may be asked again where nobody knows whether it was executed. Asked twice, it does what it
# does once; behind it what it says where the first time was executed after all, and differs.
TWICE: Final[Mapping[str, bool]] = {
    REPORT_CALL: True,
    "get": True,
    "outpoint": True,
    "utxo": True,
    "accept": True,  # it was there
    "create": True,  # TX_EXISTS
    "spend": True,  # false: this spender had it before
    "unspend": True,  # false: it was unspent
    "abandon": True,  # false: that transaction does not hold it
    "set_mined": True,
    "mark_longest_chain": True,
    "set_locked": True,
    "set_conflicting": True,
    "preserve_until": True,
    "set_dah": True,
    "freeze": False,  # somebody may have unfrozen it since,
    "unfreeze": False,  # or frozen it
    "reassign": False,  # it is recorded each time
    "increment": False,  # it is added each time, where another program created the transaction
}


class Attempts:
    """call: the first attempt, which is still to be asked."""

    def __init__(self, call: Call) -> None:
        self._operation, self._payload, self._count, self._flags = call.operation, call.payload, call.count, call.flags
        self._results: list[Any] = [None] * call.count
        self._errors: dict[int, Error] = {}  # by item, of its last attempt that left, or else of its last one
        self._unsent: dict[int, str] = {}  # why none has left since, where one had before
        self._unknown: dict[int, Error] = {}  # of its last attempt that may have been executed
        self._ids: dict[int, list[str]] = {}  # of all such, as they are told; or else of its last attempt
        self._asked: Sequence[int] = range(call.count)  # the items of the attempt that is under way
        self._due: dict[int, float] = {}  # those that may be asked again, and when, in seconds on the caller's clock
        self._pause = FIRST_PAUSE

    def take(self, call: Call, now: float, jitter: float) -> None:
        """What an attempt was answered. jitter: from 0 to 1."""
        pauses: dict[int, float] = {}
        for place, index in enumerate(self._asked):
            error = call.errors.get(place)
            if error is None:
                self._results[index] = call.results[place]
                self._errors.pop(index, None)
                continue
            if _never_left(error) and call.deadline <= now and not _never_left(self._errors.get(index, error)):
                self._unsent[index] = error.message
            else:
                self._note(index, error, call.id_of(place))
            if self._may_ask_again(error):
                pauses[index] = self._pause_after(error, jitter)
        if self._flags & ONE_TRANSACTION and pauses:  # all of it, or nothing
            again = range(self._count) if len(pauses) == len(self._errors) else ()
            pauses = dict.fromkeys(again, max(pauses.values()))
        self._due.update((index, now + pause) for index, pause in pauses.items())
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def end(self, error: Error) -> None:
        """Neither the attempt that is under way can be asked, nor any other."""
        for index in (*self._asked, *self._due):
            self._note(index, error, "")
        self._due.clear()

    @property
    def due(self) -> float | None:
        """When the next attempt is; None: there is none."""
        return min(self._due.values(), default=None)

    def next(self) -> Call:
        """The attempt that is due next."""
        latest = min(self._due.values()) + TOGETHER
        self._asked = sorted(index for index, due in self._due.items() if due <= latest)
        for index in self._asked:
            del self._due[index]
        return Call(self._operation, self._packed(), len(self._asked), self._flags)

    def settle(self) -> Call:
        """The call, with what all attempts have come to."""
        stand = [
            {"outpoints": error.details["outpoints"]}
            for error in self._unknown.values()
            if "outpoints" in error.details
        ]
        errors = {index: self._whole(index, error) for index, error in self._errors.items()}
        if self._flags & ONE_TRANSACTION and stand:  # told once, by an item that may not be the one that is raised
            errors = {index: error._replace(details={**stand[-1], **error.details}) for index, error in errors.items()}
        whole = Call(self._operation, b"", self._count, self._flags)
        whole.ids = {index: self._ids[index][-1] for index in errors}
        whole.settle(self._results, errors)
        return whole

    def _note(self, index: int, error: Error, request_id: str) -> None:
        """What the last attempt of an item has come to."""
        self._errors[index] = error
        self._unsent.pop(index, None)
        if index not in self._unknown:
            self._ids[index] = []
        if index not in self._unknown or error.executed == codes.UNKNOWN:
            self._ids[index].append(request_id)
        if error.executed == codes.UNKNOWN:
            self._unknown[index] = _together(self._unknown.get(index), error)

    def _whole(self, index: int, last: Error) -> Error:
        """What all attempts of an item have come to."""
        error = _together(self._unknown.get(index), last)
        parts = [error.message]
        if earlier := [request_id for request_id in self._ids[index][:-1] if request_id]:
            parts.append(f"asked before as {', '.join(earlier[-_MOST_TOLD:])}")
        if index in self._unsent:
            parts.append(f"asked again: {self._unsent[index]}")
        return error._replace(message="; ".join(filter(None, parts)))

    def _may_ask_again(self, error: Error) -> bool:
        if error.executed == codes.UNKNOWN:
            return TWICE[self._operation]
        return error.code in PASSING or (error.retry_after > 0 and error.code not in codes.REJECTIONS)

    def _pause_after(self, error: Error, jitter: float) -> float:
        """Seconds. What the daemon names is the least; jitter keeps callers that were refused together apart."""
        return error.retry_after / 1000 * (1 + jitter / 4) if error.retry_after else self._pause * (1 + jitter) / 2

    def _packed(self) -> bytes | memoryview:
        """The items of the next attempt."""
        if len(self._asked) == self._count:
            return self._payload
        payload = memoryview(self._payload)
        unpacker = msgpack.Unpacker(max_buffer_size=len(payload))
        unpacker.feed(payload)
        wanted, found, begin = set(self._asked), [], 0
        for index in range(self._count):
            unpacker.skip()
            end = unpacker.tell()
            if index in wanted:
                found.append(payload[begin:end])
            begin = end
        return b"".join(found)


def _never_left(error: Error) -> bool:
    """Nobody but the client says so."""
    return error[:2] == (codes.NO_ANSWER, codes.NO)


def _together(unknown: Error | None, last: Error) -> Error:
    """What the last attempt of an item was answered, after one that may have been executed. What that one listed still
    holds."""
    if unknown is None:
        return last
    if last.executed == codes.UNKNOWN:
        return last._replace(details={**unknown.details, **last.details})
    message = f"{last.message}; asked before: {unknown.code}, {unknown.executed}".removeprefix("; ")
    return Error(last.code, codes.UNKNOWN, message, last.retry_after, {**unknown.details, **last.details})
