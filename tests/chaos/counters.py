"""After a chaos run: masters whose counter, or whose children's delete-at-height, is off. A note that was lost with its
daemon is lost, as is one that a worker had in its hands, which the daemon lists as in doubt; nothing else may be off.
Asking again puts it right: the spends of a child bring its note, and `increment` counts anew and sets the heights."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgpack

from protocol import Client, Increment, Spend
from protocol.operations import SPEND_IGNORE_LOCKED
from store import Read, Status, Store
from store.layout import record_key
from tests.chaos.claims import SPENDS
from tests.chaos.history import Invocation, events
from tests.chaos.model import UTXO_BATCH_SIZE, Lot, Lots
from tests.chaos.recount import Bins, ask_again, is_counted

IN_DOUBT: Final = "counter in doubt"
DAEMON_KILLED: Final = "counter off since the daemon was killed"

_READ_SECONDS: Final = 10.0
_AT_ONCE: Final = 200
# How long after its last spend was answered a counter's follow-up may still have been under way.
_FOLLOW_UP_SECONDS: Final = 10.0


class Off(NamedTuple):
    """counter: it is that; else the delete-at-height of children."""

    lot: Lot
    records: Sequence[Bins]
    counter: bool


class Counters:
    """calls: all of the run. killed_daemon: when, seconds, monotonic. counts: why they may be off, how many are.
    problems: those that may not, in words."""

    def __init__(self, lots: Lots, calls: Sequence[Invocation], killed_daemon: Sequence[float], doubts: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._lots = lots
        self._killed_daemon = killed_daemon
        self._doubtful = doubtful_txids(doubts)
        self._numbers = sorted({item[0] for call in calls for item in call.items})
        self._spans = _spans(calls)

    def find(self, store: Store) -> list[Off]:
        return [
            Off(lot, records, counter=not is_counted(records))
            for lot, records in self._whole_ones(store)
            if not is_counted(records) or not has_heights(lot, records)
        ]

    def judge(self, off: Sequence[Off]) -> None:
        """Before anything of it was asked again."""
        for one in off:
            if one.lot.txid in self._doubtful:
                self.counts[IN_DOUBT] += 1
            elif self._daemon_was_killed_meanwhile(one.lot.number):
                self.counts[DAEMON_KILLED] += 1
            else:
                what = "counter" if one.counter else "children's delete-at-height"
                self.problems.append(f"lot {one.lot.number}: its {what} is off, and nobody is to blame")

    def ask_again(self, endpoint: str, off: Sequence[Off]) -> None:
        with Client(endpoint) as client:
            for one in off:
                if one.counter:
                    for index, child in enumerate(one.records[1:], start=1):
                        ask_again(client, child, partial(_spend, one.lot, index))
                else:
                    client.increment_many([Increment(one.lot.txid, 0, one.lot.height)])

    def _whole_ones(self, store: Store) -> Iterator[tuple[Lot, Sequence[Bins]]]:
        for first in range(0, len(self._numbers), _AT_ONCE):
            lots = [self._lots.lot(number) for number in self._numbers[first : first + _AT_ONCE]]
            keys = [record_key(lot.txid, index) for lot in lots for index in range(lot.children + 1)]
            results = iter(store.batch_operate([Read(key) for key in keys], _READ_SECONDS))
            for lot in lots:
                own = [next(results) for _ in range(lot.children + 1)]
                if all(result.status is Status.OK for result in own):
                    yield lot, [result.value for result in own]

    def _daemon_was_killed_meanwhile(self, number: int) -> bool:
        first, last = self._spans.get(number, (0.0, 0.0))
        return any(first < killed < last + _FOLLOW_UP_SECONDS for killed in self._killed_daemon)


def has_heights(lot: Lot, records: Sequence[Bins]) -> bool:
    """Whether the children of one that is mined, and never locked, are to be deleted when their master is."""
    master, *children = records
    height = master.get("deleteAtHeight")
    return not lot.mined or lot.lockable or all(child.get("deleteAtHeight") == height for child in children)


def _spend(lot: Lot, index: int, offset: int, spender: bytes, vin: int) -> Spend:
    return lot.spend(index * UTXO_BATCH_SIZE + offset, spender, vin, SPEND_IGNORE_LOCKED)


def _spans(calls: Sequence[Invocation]) -> Mapping[int, tuple[float, float]]:
    """By lot, from when until when it was asked for."""
    spans: dict[int, tuple[float, float]] = {}
    for item, answer, call in events(calls, (*SPENDS, "abandon")):
        if answer.executed != "no":
            first, last = spans.get(item[0], (call.asked, 0.0))
            spans[item[0]] = min(first, call.asked), max(last, call.answered or call.due)
    return spans


def doubtful_txids(path: Path) -> set[Any]:
    """The masters that the list of what is in doubt names, directly or in a request; wire order."""
    found: set[Any] = set()
    for line in path.read_text().splitlines() if path.exists() else ():
        doubt = json.loads(line)
        if "txid" in doubt:
            found.add(bytes.fromhex(doubt["txid"])[::-1])
        else:
            found |= {item[0] for item in msgpack.unpackb(bytes.fromhex(doubt["request"]), strict_map_key=False)}
    return found
