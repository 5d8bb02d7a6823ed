"""The records of receipts, as bytes. Each begins with its length, its kind, and what it is about: the start of the
daemon (epoch) and the dispatch (its number; 0 where it is about none), so that 16 bytes find all that belongs to one
dispatch.

    STARTED     the daemon has begun: pid, version
    DISPATCHED  a worker was handed these requests: pid, pool, operation; of each its id, how long it had waited, its
                mark
    DONE        it has answered: time in the store; the outcomes that are not plainly well
    LOST        it is gone, or answers nonsense, and held the dispatch: pid, reason
    ANSWERED    the broker itself answered requests: refused, or given up, with which code; of each its id, when it had
                arrived, its mark
    FANNED_IN   a request's parts are done: it was answered, with these outcomes
    ENDED       the daemon is gone, and nothing of what it had said is missing

A long column is split over several records. Times are microseconds on the daemon's clock. A *mark* is the number of a
request's items; or, of a part, PART and the item of its request that it is for. An *outcome* is of some items in a row,
or of the whole request (item WHOLE). Numbers are as this machine has them, without padding.
"""

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct, error
from typing import Final, NamedTuple

REQUEST_ID_BYTES: Final = 16
# Of one record, and of one message of them; a block of the ring has room for several.
MOST_BYTES: Final = 1 << 15

STARTED: Final = 1
DISPATCHED: Final = 2
DONE: Final = 3
LOST: Final = 4
ANSWERED: Final = 5
FANNED_IN: Final = 6
ENDED: Final = 7

PART: Final = 1 << 31  # a mark; an item's index is below it
WHOLE: Final = (1 << 32) - 1  # in place of an item's index
FOLLOW_UP: Final = "FOLLOW_UP"  # in place of a code: the item is done, and its answer waits for parts

# Requests, or outcomes, in one record: of 28 and of 13 bytes.
MOST_REQUESTS: Final = 1000
MOST_OUTCOMES: Final = 2000
# Of codes in one record; there are some 70. What is beyond is told as the last of them.
_MOST_KINDS: Final = 200

_HEAD: Final = Struct("=HBQQQ")  # length of the whole, kind, epoch, number, time
_KEY: Final = Struct("=QQ")
_DISPATCHED: Final = Struct("=IIH")  # pid, index of the first request, how many
_DONE: Final = Struct("=QII")  # store_us, outcomes of the dispatch, of this record
_ALL_WELL: Final = Struct("=HBQQQQIIB")  # a whole record: head, store_us, no outcomes, none here, no codes
_PID: Final = Struct("=I")
_ANSWERED: Final = Struct("=BH")  # whether refused, how many
_FANNED_IN: Final = Struct("=16sqII")  # id, when it had arrived, outcomes of the request, of this record


class Outcome(NamedTuple):
    """request: its index in the dispatch. item: index in the request of the first of so many `items`, or WHOLE.
    executed: "no" or "unknown", empty for a FOLLOW_UP."""

    request: int
    item: int
    items: int
    code: str
    executed: str


class Asked(NamedTuple):
    """One request, or one part of one. arrived: 0 where it was refused on arrival."""

    request_id: bytes
    arrived: int
    mark: int


class Started(NamedTuple):
    epoch: int
    time: int
    pid: int
    version: str


class Dispatched(NamedTuple):
    """first: index of the first of `asked` in the dispatch."""

    epoch: int
    number: int
    time: int
    pid: int
    pool: str
    operation: str
    first: int
    asked: list[Asked]


class Done(NamedTuple):
    """of: how many outcomes that are not plainly well the dispatch has in all; the others are in other records."""

    epoch: int
    number: int
    time: int
    store_us: int
    of: int
    outcomes: list[Outcome]


class Lost(NamedTuple):
    epoch: int
    number: int
    time: int
    pid: int
    reason: str


class Answered(NamedTuple):
    """refused: on arrival; else it had been let in, and was given up."""

    epoch: int
    time: int
    refused: bool
    code: str
    executed: str
    message: str
    operation: str
    asked: list[Asked]


class FannedIn(NamedTuple):
    """arrived: the request. of: as in Done."""

    epoch: int
    time: int
    request_id: bytes
    arrived: int
    of: int
    outcomes: list[Outcome]


class Ended(NamedTuple):
    epoch: int
    time: int


Record = Started | Dispatched | Done | Lost | Answered | FannedIn | Ended


def key(epoch: int, number: int) -> bytes:
    """What stands in every record of that dispatch."""
    return _KEY.pack(epoch, number)


# ---- values to bytes


def pack_started(epoch: int, time: int, pid: int, version: str) -> bytes:
    return _record(STARTED, epoch, 0, time, _PID.pack(pid & WHOLE) + _text(version))


def pack_dispatched(
    epoch: int,
    number: int,
    time: int,
    pid: int,
    pool: str,
    operation: str,
    ids: bytes,
    waits: Sequence[int],
    marks: Sequence[int],
) -> Iterator[bytes]:
    """ids: of all requests, one after the other. waits: microseconds."""
    names = _names(pool, operation)
    for first in range(0, len(marks), MOST_REQUESTS):
        end = first + MOST_REQUESTS
        columns = _columns(ids[first * 16 : end * 16], waits[first:end], marks[first:end])
        fixed = _DISPATCHED.pack(pid & WHOLE, first, len(columns) // 28)
        yield _record(DISPATCHED, epoch, number, time, fixed + names + columns)


def pack_done(epoch: int, number: int, time: int, store_us: int, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
    for first in range(0, len(outcomes) or 1, MOST_OUTCOMES):
        part = outcomes[first : first + MOST_OUTCOMES]
        yield _record(DONE, epoch, number, time, _DONE.pack(store_us, len(outcomes), len(part)) + _outcomes(part))


def pack_all_well(epoch: int, number: int, time: int, store_us: int) -> bytes:
    """As `pack_done` of no outcomes, which is nearly always: the dispatch went plainly well."""
    return _ALL_WELL.pack(_ALL_WELL.size, DONE, epoch, number, time, store_us, 0, 0, 0)


def pack_lost(epoch: int, number: int, time: int, pid: int, reason: str) -> bytes:
    return _record(LOST, epoch, number, time, _PID.pack(pid & WHOLE) + _text(reason))


def pack_answered(
    epoch: int,
    time: int,
    refused: bool,
    code: str,
    executed: str,
    message: str,
    operation: str,
    ids: Sequence[bytes],
    arrived: Sequence[int],
    marks: Sequence[int],
) -> Iterator[bytes]:
    texts = _text(code) + _text(executed) + _text(message) + _text(operation)
    for first in range(0, len(ids), MOST_REQUESTS):
        end = first + MOST_REQUESTS
        columns = _columns(b"".join(ids[first:end]), arrived[first:end], marks[first:end])
        yield _record(ANSWERED, epoch, 0, time, _ANSWERED.pack(refused, len(columns) // 28) + texts + columns)


def pack_fanned_in(
    epoch: int, time: int, request_id: bytes, arrived: int, outcomes: Sequence[Outcome]
) -> Iterator[bytes]:
    for first in range(0, len(outcomes) or 1, MOST_OUTCOMES):
        part = outcomes[first : first + MOST_OUTCOMES]
        fixed = _FANNED_IN.pack(request_id, arrived, len(outcomes), len(part))
        yield _record(FANNED_IN, epoch, 0, time, fixed + _outcomes(part))


def pack_ended(epoch: int, time: int) -> bytes:
    return _record(ENDED, epoch, 0, time, b"")


def _record(kind: int, epoch: int, number: int, time: int, rest: bytes) -> bytes:
    return _HEAD.pack(_HEAD.size + len(rest), kind, epoch, number, time) + rest


def _text(text: str) -> bytes:
    encoded = text.encode(errors="replace")[:255]
    return bytes((len(encoded),)) + encoded


@lru_cache(maxsize=256)
def _names(pool: str, operation: str) -> bytes:
    return _text(pool) + _text(operation)


def _columns(ids: bytes, times: Sequence[int], marks: Sequence[int]) -> bytes:
    return b"".join((ids, array("q", times).tobytes(), array("I", marks).tobytes()))


def _outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """First the codes, each once."""
    kinds: dict[tuple[str, str], int] = {}
    places = bytearray()
    for _, _, _, *kind in outcomes:
        places.append(kinds.setdefault((kind[0], kind[1]), min(len(kinds), _MOST_KINDS)))
    listed = list(kinds)[: _MOST_KINDS + 1]
    table = b"".join(_text(text) for kind in listed for text in kind)
    columns = [array("I", column).tobytes() for column in list(zip(*outcomes, strict=True))[:3]]
    return b"".join((bytes((len(listed),)), table, *columns, places))


# ---- bytes to values


class Damaged(ValueError):
    """Bytes that are no record."""


def split(data: bytes) -> Iterator[bytes]:
    """The records that lie one after the other. Raises Damaged where that is not so."""
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 2], "little")
        if length < _HEAD.size or place + length > len(data):
            raise Damaged("a record's length")
        yield data[place : place + length]
        place += length


def unpack(record: bytes) -> Record:
    """Raises Damaged."""
    try:
        return _unpack(record)
    except (error, IndexError, ValueError) as fault:
        raise Damaged(str(fault)) from None


def _unpack(record: bytes) -> Record:
    _, kind, epoch, number, time = _HEAD.unpack_from(record)
    reader = _Reader(record, _HEAD.size)
    if kind == STARTED:
        (pid,) = reader.numbers(_PID)
        return Started(epoch, time, pid, reader.text())
    if kind == DISPATCHED:
        pid, first, count = reader.numbers(_DISPATCHED)
        pool, operation = reader.text(), reader.text()
        asked = [each._replace(arrived=time - each.arrived) for each in reader.asked(count)]
        return Dispatched(epoch, number, time, pid, pool, operation, first, asked)
    if kind == DONE:
        store_us, of, count = reader.numbers(_DONE)
        return Done(epoch, number, time, store_us, of, reader.outcomes(count))
    if kind == LOST:
        (pid,) = reader.numbers(_PID)
        return Lost(epoch, number, time, pid, reader.text())
    if kind == ANSWERED:
        refused, count = reader.numbers(_ANSWERED)
        code, executed, message, operation = reader.text(), reader.text(), reader.text(), reader.text()
        return Answered(epoch, time, bool(refused), code, executed, message, operation, reader.asked(count))
    if kind == FANNED_IN:
        request_id, arrived, of, count = _FANNED_IN.unpack_from(record, reader.place)
        reader.place += _FANNED_IN.size
        return FannedIn(epoch, time, request_id, arrived, of, reader.outcomes(count))
    if kind == ENDED:
        return Ended(epoch, time)
    raise Damaged(f"kind {kind}")


class _Reader:
    """place: of what is read next."""

    def __init__(self, record: bytes, place: int) -> None:
        self._record = record
        self.place = place

    def numbers(self, form: Struct) -> tuple[int, ...]:
        self.place += form.size
        return form.unpack_from(self._record, self.place - form.size)

    def text(self) -> str:
        return self._take(self._record[self.place], skip=1).decode(errors="replace")

    def asked(self, count: int) -> list[Asked]:
        ids = self._take(16 * count)
        times, marks = array("q", self._take(8 * count)), array("I", self._take(4 * count))
        return [Asked(ids[16 * index : 16 * index + 16], times[index], marks[index]) for index in range(count)]

    def outcomes(self, count: int) -> list[Outcome]:
        (kinds,) = self._take(1)
        table = [(self.text(), self.text()) for _ in range(kinds)]
        columns = [array("I", self._take(4 * count)) for _ in range(3)]
        places = self._take(count)
        return [Outcome(*numbers, *table[place]) for *numbers, place in zip(*columns, places, strict=True)]

    def _take(self, size: int, skip: int = 0) -> bytes:
        begin = self.place + skip
        self.place = begin + size
        if self.place > len(self._record):
            raise Damaged("it ends early")
        return self._record[begin : self.place]
