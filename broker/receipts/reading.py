"""Finds all that the rings of a directory keep of a request, while they may be written to.

Every block is read once, and its bytes are searched for the request's id; where it is found the records are taken
apart. Then, from there on, the ends of the dispatches that had it are looked for in the same way. Times are
microseconds since 1970.
"""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from .coverage import Block, Coverage, coverage_of
from .records import (
    Answered,
    Asked,
    Damaged,
    Dispatched,
    Done,
    Ended,
    FannedIn,
    Lost,
    Outcome,
    Record,
    Started,
    key,
    split,
    unpack,
)
from .ring import BLOCK_BYTES, Head, files_in, places_in, read_block

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.01


class Part(NamedTuple):
    """What a dispatch had of the request: all of it, or the work for one of its items. place: in the dispatch. came:
    when it had arrived. arrived: the same, on the daemon's clock. mark: as in a record."""

    place: int
    came: int
    arrived: int
    mark: int


@dataclass(slots=True)
class Execution:
    """A dispatch that had something of the request. done: when its worker had answered, 0: it has not. outcomes: of its
    parts alone; is_whole: nothing is missing of them. lost: when its worker was gone, 0: it was not; for `reason`."""

    epoch: int
    number: int
    handed: int
    pid: int
    pool: str
    operation: str
    parts: list[Part]
    done: int = 0
    store_us: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    is_whole: bool = False
    lost: int = 0
    reason: str = ""


class Answer(NamedTuple):
    """The broker's own, to the request, or to a part of it. refused: on arrival. came, arrived, mark: as of a part."""

    time: int
    epoch: int
    refused: bool
    code: str
    executed: str
    message: str
    operation: str
    came: int
    arrived: int
    mark: int


@dataclass(slots=True)
class FanInAnswer:
    """The request was answered when its parts were done; with these outcomes, where nothing of them is missing.
    came, arrived: the request, as of a part."""

    time: int
    epoch: int
    came: int
    arrived: int
    outcomes: list[Outcome]
    is_whole: bool


class Daemon(NamedTuple):
    """A start of a daemon. ended: when it was gone, 0: nobody says so."""

    started: int
    pid: int
    version: str
    ended: int


@dataclass(slots=True)
class Found:
    """In the order in which it happened. daemons: by epoch. coverage: None where there are no receipts at all.
    blank: files that hold none: a daemon was to keep its own there, and could not write, or is of another version."""

    executions: list[Execution]
    answers: list[Answer]
    fan_ins: list[FanInAnswer]
    daemons: dict[int, Daemon]
    coverage: Coverage | None
    blank: list[Path]


class Receipts:
    """directory: of the rings. Raises OSError where a file there can't be read."""

    def __init__(self, directory: Path) -> None:
        with contextlib.ExitStack() as undo:
            self._files: dict[Path, int] = {}
            for path in files_in(directory):
                self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, self._files[path])
            self._undo = undo.pop_all()

    def __enter__(self) -> "Receipts":
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def size(self) -> int:
        """Bytes that a search reads, at least."""
        return sum(os.fstat(file).st_size for file in self._files.values())

    def find(self, request_id: bytes, progress: Callable[[int], object] = lambda _: None) -> Found:
        """progress: told of bytes that were read. Raises OSError."""
        return self.find_all([request_id], progress)[request_id]

    def find_all(
        self, request_ids: list[bytes], progress: Callable[[int], object] = lambda _: None
    ) -> dict[bytes, Found]:
        """As `find`, of many in one go, each by its id."""
        search = _Search(request_ids)
        for path, place, head, data in self._sound(self._places(progress)):
            search.look(path, place, head, data)
        wanted = ((block.path, block.place) for block in search.blocks if search.wants(block))
        for path, place, head, data in self._sound(wanted):
            search.look_again(path, place, head, data)
        return search.found(self._files)

    def _places(self, progress: Callable[[int], object]) -> Iterator[tuple[Path, int]]:
        """Of all blocks."""
        for path, file in self._files.items():
            for place in places_in(file):
                yield path, place
                progress(BLOCK_BYTES)

    def _sound(self, places: Iterable[tuple[Path, int]]) -> Iterator[tuple[Path, int, Head, bytes]]:
        """The blocks there that are sound. One that is being begun just now is torn for as long as that takes."""
        for attempt in range(_TRIES):
            time.sleep(_PAUSE_SECONDS if attempt else 0)
            torn = []
            for path, place in places:
                if (sound := read_block(self._files[path], place)) is not None:
                    yield path, place, *sound
                else:
                    torn.append((path, place))
            if not torn:
                return
            places = torn


class _Search:
    """blocks: all that are sound, each once, in their daemons' order once all were looked at."""

    def __init__(self, request_ids: list[bytes]) -> None:
        self._ids = dict.fromkeys(request_ids)
        self._blocks: dict[tuple[Path, int], Block] = {}  # by file and sequence
        self._daemons: dict[int, Daemon] = {}
        self._executions: dict[tuple[int, int], dict[bytes, Execution]] = {}
        self._first: dict[int, dict[int, int]] = {}  # by epoch and number: the message in which it begins
        self._counted: Counter[tuple[int, int]] = Counter()  # outcomes that were found
        self._answers: dict[bytes, list[Answer]] = {}
        self._fan_ins: dict[bytes, dict[tuple[int, int], FanInAnswer]] = {}

    @property
    def blocks(self) -> list[Block]:
        return sorted(self._blocks.values(), key=lambda block: (block.head.epoch, block.head.first))

    def look(self, path: Path, place: int, head: Head, data: bytes) -> None:
        """At a block."""
        if (path, head.sequence) in self._blocks:  # it was being moved
            return
        begins = ends = False
        for record in _edges(head, data):
            begins = begins or isinstance(record, Started)
            ends = ends or isinstance(record, Ended)
            self._learn_of_daemon(record, head.offset)
        block = self._blocks[path, head.sequence] = Block(path, place, head, begins, ends)
        if _may_hold(data, self._ids):
            for record in _records(data):
                self._take(record, block)

    def wants(self, block: Block) -> bool:
        """Whether an end may be in it that has not been found."""
        firsts = self._first.get(block.head.epoch)
        return min(firsts.values()) <= block.head.last if firsts else False

    def look_again(self, path: Path, place: int, head: Head, data: bytes) -> None:
        """For ends, in a block that is wanted, unless it has been overwritten since; and at what was appended to it
        since, so that no end is found whose request had been answered before, and that answer is not."""
        block, epoch = self._blocks.get((path, head.sequence)), head.epoch
        if block is None or block.place != place:
            return
        for record in _records(data[block.head.used :]):
            self._take(record, block)
        if not _may_hold(data, [key(epoch, number) for number in self._first[epoch]]):
            return
        for record in _records(data):
            if isinstance(record, Done | Lost) and record.number in self._first[epoch]:
                self._end(record, head.offset)

    def found(self, files: Iterable[Path]) -> dict[bytes, Found]:
        executions: dict[bytes, list[Execution]] = {request_id: [] for request_id in self._ids}
        for by_id in self._executions.values():
            for request_id, execution in by_id.items():
                executions[request_id].append(execution)
        coverage = coverage_of(self._blocks.values())
        blank = sorted(set(files) - {path for path, _ in self._blocks})
        return {
            request_id: Found(
                sorted(own, key=lambda execution: execution.handed),
                sorted(self._answers.get(request_id, [])),
                sorted(self._fan_ins.get(request_id, {}).values(), key=lambda fan_in: fan_in.time),
                self._daemons,
                coverage,
                blank,
            )
            for request_id, own in executions.items()
        }

    def _take(self, record: Record, block: Block) -> None:
        offset = block.head.offset
        if isinstance(record, Dispatched):
            for index, asked in enumerate(record.asked, record.first):
                if asked.request_id in self._ids:
                    part = Part(index, asked.arrived + offset, asked.arrived, asked.mark)
                    self._execution(record, block, asked.request_id).parts.append(part)
        elif isinstance(record, Answered):
            for asked in record.asked:
                if asked.request_id in self._ids:
                    self._answers.setdefault(asked.request_id, []).append(_answer(record, asked, offset))
        elif isinstance(record, FannedIn) and record.request_id in self._ids:
            of_id = self._fan_ins.setdefault(record.request_id, {})
            told = FanInAnswer(record.time + offset, record.epoch, record.arrived + offset, record.arrived, [], False)
            fan_in = of_id.setdefault((record.epoch, record.arrived), told)
            fan_in.outcomes += record.outcomes
            fan_in.is_whole = len(fan_in.outcomes) == record.of

    def _execution(self, record: Dispatched, block: Block, request_id: bytes) -> Execution:
        epoch, number = record.epoch, record.number
        by_id = self._executions.setdefault((epoch, number), {})
        if request_id not in by_id:
            handed = record.time + block.head.offset
            by_id[request_id] = Execution(epoch, number, handed, record.pid, record.pool, record.operation, [])
            self._first.setdefault(epoch, {}).setdefault(number, block.head.first)
        return by_id[request_id]

    def _end(self, record: Done | Lost, offset: int) -> None:
        dispatch = record.epoch, record.number
        if isinstance(record, Done):
            self._counted[dispatch] += len(record.outcomes)
        for execution in self._executions[dispatch].values():
            if isinstance(record, Lost):
                execution.lost, execution.reason = record.time + offset, record.reason
                continue
            own = {part.place for part in execution.parts}
            execution.done, execution.store_us = record.time + offset, record.store_us
            execution.outcomes += [outcome for outcome in record.outcomes if outcome.request in own]
            execution.is_whole = self._counted[dispatch] == record.of
        if isinstance(record, Lost) or self._counted[dispatch] == record.of:
            del self._first[record.epoch][record.number]

    def _learn_of_daemon(self, record: Record, offset: int) -> None:
        known = self._daemons.get(record.epoch, Daemon(0, 0, "", 0))
        if isinstance(record, Started):
            known = Daemon(record.time + offset, record.pid, record.version, known.ended)
        elif isinstance(record, Ended):
            known = known._replace(ended=record.time + offset)
        self._daemons[record.epoch] = known


# From so many on it is quicker to take all records apart than to look for each.
_MANY: Final = 50


def _may_hold(data: bytes, words: Collection[bytes]) -> bool:
    return len(words) > _MANY or any(word in data for word in words)


def _records(data: bytes) -> Iterator[Record]:
    """Of a block; what can't be read of it, a later version's, is left out."""
    for record in split(data):
        with contextlib.suppress(Damaged):
            yield unpack(record)


def _edges(head: Head, data: bytes) -> Iterator[Record]:
    """A daemon's start where the first record is that, and its end where the last one is. The last bytes of a record
    are its submitters' choice: they may look like an end."""
    if head.first == 1:
        yield from islice(_records(data), 1)
    if data.endswith(key(head.epoch, 0), 0, len(data) - 8):
        yield from (record for record in _records(data) if isinstance(record, Ended))


def _answer(record: Answered, asked: Asked, offset: int) -> Answer:
    epoch, time, refused, code, executed, message, operation, _ = record
    arrived = asked.arrived or time  # what is refused has not waited
    came = arrived + offset
    return Answer(time + offset, epoch, refused, code, executed, message, operation, came, arrived, asked.mark)
