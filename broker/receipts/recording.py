"""The core's side of receipts: what happens to requests becomes records, as bytes. No I/O and no clock.

What costs is counted per dispatch: of its requests no more is done than to put their ids together, and to pack when
they came. Those that the broker answers itself are gathered by what they are answered, until they are taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from protocol.wire import Error, ReplyHeader

from ..entry import Entry
from ..pool import Dispatch, Worker
from ..reply_headers import ALL_WELL
from ..reply_headers import Outcome as Said
from .records import (
    FOLLOW_UP,
    PART,
    WHOLE,
    Outcome,
    pack_all_well,
    pack_answered,
    pack_dispatched,
    pack_done,
    pack_fanned_in,
    pack_lost,
    pack_started,
)

_LARGEST_COUNT: Final = PART - 1
_LARGEST_TIME: Final = (1 << 63) - 1

# Whether refused, code, executed, message, operation.
_Told = tuple[bool, str, str, str, str]


class Recording:
    """epoch: of this start of the daemon. is_on: whether anything is recorded."""

    def __init__(self, epoch: int, is_on: bool = False) -> None:
        self._epoch = epoch
        self.is_on = is_on
        self._records: list[bytes] = []
        self._answered: dict[_Told, tuple[list[bytes], list[int], list[int]]] = {}
        self._fanned_in: list[tuple[bytes, int, ReplyHeader | None]] = []

    def started(self, now: int, pid: int, version: str) -> None:
        """The daemon's start, its first record."""
        if self.is_on:
            self._records.append(pack_started(self._epoch, now, pid, version))

    def dispatched(self, dispatch: Dispatch, worker: Worker, ids: bytes, waits: Sequence[int]) -> None:
        """ids: those of its requests, one after the other; a part's is its request's, owed work's all zero. waits: how
        long each was in the queue, microseconds."""
        if self.is_on:
            marks = [_mark(entry) if entry.submitter is None else entry.weight for entry in dispatch.entries]
            what = dispatch.number, dispatch.started, worker.pid, worker.pool.name, dispatch.operation
            self._records += pack_dispatched(self._epoch, *what, ids, waits, marks)

    def done(
        self, number: int, now: int, store_us: int, said: Sequence[Said], parts: Mapping[int, Sequence[Entry]]
    ) -> None:
        """said: of each request of the dispatch. parts: by the request's index, what its answer waits for."""
        if not self.is_on:
            return
        store_us = min(store_us, _LARGEST_TIME)
        if not parts and said.count(ALL_WELL) == len(said):
            self._records.append(pack_all_well(self._epoch, number, now, store_us))
        else:
            failed = ((index, each.reply) for index, each in enumerate(said) if each.reply is not None)
            outcomes = [outcome for index, header in failed for outcome in _failures(index, header)]
            for index, entries in parts.items():
                items = sorted({entry.parent_item for entry in entries})
                outcomes += _runs(index, ((item, (FOLLOW_UP, "")) for item in items))
            self._records += pack_done(self._epoch, number, now, store_us, outcomes)

    def lost(self, number: int, now: int, worker: Worker, reason: str) -> None:
        """The worker that held it is gone, or not to be believed."""
        if self.is_on:
            self._records.append(pack_lost(self._epoch, number, now, worker.pid, reason))

    def given_up(self, entry: Entry, code: str, message: str) -> None:
        """The broker answers the entry itself, in the state that it is in."""
        if self.is_on and not entry.is_owed:
            told = False, code, entry.executed, message, entry.operation
            self._add(told, entry.request_id, entry.arrived, _mark(entry))

    def refused(self, request_id: bytes, error: Error, operation: str, count: int) -> None:
        """A request was not let in. count: its items, as it says."""
        if self.is_on:
            told = True, error.code, error.executed, error.message, operation
            self._add(told, request_id, 0, min(count, _LARGEST_COUNT))

    def fanned_in(self, entry: Entry, said: Said) -> None:
        """The parts of a request are done, and it is answered with this."""
        if self.is_on:
            self._fanned_in.append((entry.request_id, entry.arrived, said.reply))

    def take(self, now: int) -> list[bytes]:
        """The records since the last time."""
        for told, (ids, arrived, marks) in self._answered.items():
            self._records += pack_answered(self._epoch, now, *told, ids, arrived, marks)
        self._answered.clear()
        for request_id, came, reply in self._fanned_in:
            outcomes = list(_failures(0, reply)) if reply else ()
            self._records += pack_fanned_in(self._epoch, now, request_id, came, outcomes)
        self._fanned_in.clear()
        records, self._records = self._records, []
        return records

    def _add(self, told: _Told, request_id: bytes, arrived: int, mark: int) -> None:
        if told not in self._answered:
            self._answered[told] = [], [], []
        ids, times, marks = self._answered[told]
        ids.append(request_id)
        times.append(arrived)
        marks.append(mark)


def _mark(entry: Entry) -> int:
    return PART | entry.parent_item if entry.submitter is None else entry.weight


def _failures(index: int, header: ReplyHeader) -> Iterable[Outcome]:
    if header.error is not None:
        return [Outcome(index, WHOLE, 1, header.error.code, header.error.executed)]
    return _runs(index, ((item, error[:2]) for item, error in sorted(header.errors.items())))


def _runs(index: int, told: Iterable[tuple[int, tuple[str, str]]]) -> Iterable[Outcome]:
    """Items that lie in a row, and are told the same, as one outcome. told: in the order of the items."""
    for (_, kind), run in groupby(enumerate(told), lambda placed: (placed[1][0] - placed[0], placed[1][1])):
        items = [item for _, (item, _) in run]
        yield Outcome(index, items[0], len(items), *kind)
