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
from protocol.item_flags import SPEND_IGNORE_LOCKED
from store import Read, Status, Store
from store.layout import record_key
from tests.chaos.claims import SPENDS
from tests.chaos.history import Invocation, events
from tests.chaos.parents import UTXO_BATCH_SIZE, Parent, Parents
from tests.chaos.recount import Bins, ask_again, is_counted

IN_DOUBT: Final = "counter in doubt"
DAEMON_KILLED: Final = "counter off since the daemon was killed"

_READ_SECONDS: Final = 10.0
_AT_ONCE: Final = 200
# How long after its last spend was answered a counter's follow-up may still have been under way.
_FOLLOW_UP_SECONDS: Final = 10.0


class Miscount(NamedTuple):
    """What is wrong about a parent. counter: it is that; else the delete-at-height of its children."""

    parent: Parent
    records: Sequence[Bins]
    counter: bool


class Counters:
    """invocations: all of the run. killed_daemon: when, seconds, monotonic. counts: why they may be off, how many are.
    problems: those that may not, in words."""

    def __init__(
        self, parents: Parents, invocations: Sequence[Invocation], killed_daemon: Sequence[float], in_doubt_log: Path
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._parents = parents
        self._killed_daemon = killed_daemon
        self._in_doubt = txids_in_doubt(in_doubt_log)
        self._numbers = sorted({item[0] for invocation in invocations for item in invocation.items})
        self._spans = _spans(invocations)

    def find(self, store: Store) -> list[Miscount]:
        return [
            Miscount(parent, records, counter=not is_counted(records))
            for parent, records in self._whole_ones(store)
            if not is_counted(records) or not has_heights(parent, records)
        ]

    def judge(self, off: Sequence[Miscount]) -> None:
        """Before anything of it was asked again."""
        for miscount in off:
            if miscount.parent.txid in self._in_doubt:
                self.counts[IN_DOUBT] += 1
            elif self._daemon_was_killed_meanwhile(miscount.parent.number):
                self.counts[DAEMON_KILLED] += 1
            else:
                what = "counter" if miscount.counter else "children's delete-at-height"
                self.problems.append(f"parent {miscount.parent.number}: its {what} is off, and nobody is to blame")

    def ask_again(self, endpoint: str, off: Sequence[Miscount]) -> None:
        with Client(endpoint) as client:
            for miscount in off:
                if miscount.counter:
                    for index, child in enumerate(miscount.records[1:], start=1):
                        ask_again(client, child, partial(_spend, miscount.parent, index))
                else:
                    client.increment_many([Increment(miscount.parent.txid, 0, miscount.parent.height)])

    def _whole_ones(self, store: Store) -> Iterator[tuple[Parent, Sequence[Bins]]]:
        for first in range(0, len(self._numbers), _AT_ONCE):
            parents = [self._parents.parent(number) for number in self._numbers[first : first + _AT_ONCE]]
            keys = [record_key(parent.txid, index) for parent in parents for index in range(parent.children + 1)]
            results = iter(store.batch_operate([Read(key) for key in keys], _READ_SECONDS))
            for parent in parents:
                own = [next(results) for _ in range(parent.children + 1)]
                if all(result.status is Status.OK for result in own):
                    yield parent, [result.value for result in own]

    def _daemon_was_killed_meanwhile(self, number: int) -> bool:
        first, last = self._spans.get(number, (0.0, 0.0))
        return any(first < killed < last + _FOLLOW_UP_SECONDS for killed in self._killed_daemon)


def has_heights(parent: Parent, records: Sequence[Bins]) -> bool:
    """Whether the children are to be deleted when their master is, if that is to be deleted at all."""
    master, *children = records
    height = master.get("deleteAtHeight")
    return not parent.is_deletable or all(child.get("deleteAtHeight") == height for child in children)


def _spend(parent: Parent, index: int, offset: int, spender: bytes, vin: int) -> Spend:
    return parent.spend(index * UTXO_BATCH_SIZE + offset, spender, vin, SPEND_IGNORE_LOCKED)


def _spans(invocations: Sequence[Invocation]) -> Mapping[int, tuple[float, float]]:
    """By parent, from when until when it was asked for."""
    spans: dict[int, tuple[float, float]] = {}
    for item, answer, invocation in events(invocations, (*SPENDS, "unspend")):
        if answer.executed != "no":
            first, last = spans.get(item[0], (invocation.asked, 0.0))
            spans[item[0]] = min(first, invocation.asked), max(last, invocation.answered or invocation.due)
    return spans


def txids_in_doubt(path: Path) -> set[Any]:
    """The masters that the list of what is in doubt names, directly or in a request; wire order."""
    found: set[Any] = set()
    for line in path.read_text().splitlines() if path.exists() else ():
        doubt = json.loads(line)
        if "txid" in doubt:
            found.add(bytes.fromhex(doubt["txid"])[::-1])
        else:
            found |= {item[0] for item in msgpack.unpackb(bytes.fromhex(doubt["request"]), strict_map_key=False)}
    return found
