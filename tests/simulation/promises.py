"""What the callers of one set were promised, held against what each step does to it.

A spend that was answered well stands until somebody takes it back. What else a spender holds some answer has named.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from store.layout import UTXO_BYTES
from tests.simulation.records import Bins
from tests.simulation.tasks import Violation


class Promise(NamedTuple):
    """The output at this offset of the record is spent by this transaction."""

    record: bytes
    offset: int
    spender: bytes


def held_in(key: bytes, bins: Bins | None) -> Iterator[Promise]:
    for offset, utxo in enumerate(bins.get("utxos", ()) if bins else ()):
        if utxo is not None and len(utxo) > UTXO_BYTES:
            yield Promise(key, offset, utxo[UTXO_BYTES : 2 * UTXO_BYTES])


class Promises:
    """stands: what was acknowledged, and not taken back since. loose: what was acknowledged, and taken back while that
    answer was awaited: before the spend, or after it. named: what other answers said might be held."""

    def __init__(self) -> None:
        self.stands: set[Promise] = set()
        self.loose: set[Promise] = set()
        self.named: set[Promise] = set()
        self._waiting: dict[Hashable, set[Promise]] = {}
        self._had: dict[Hashable, set[Promise]] = {}

    def asked(self, request: Hashable, promises: Iterable[Promise], records: Mapping[bytes, Bins]) -> None:
        """Somebody waits for these."""
        waiting = set(promises)
        self._waiting[request] = waiting
        self._had[request] = {
            promise for promise in waiting if promise in set(held_in(promise.record, records[promise.record]))
        }

    def stepped(self, operation: str, key: bytes, before: Bins | None, after: Bins | None) -> None:
        """Raises Violation where a step takes back what stands, and nobody asked for that."""
        lost = set(held_in(key, before)) - set(held_in(key, after))
        if not lost:
            return
        for had in self._had.values():
            had.difference_update(lost)
        if operation != "unspend":
            if lost & self.stands:
                raise Violation(f"{operation} takes back what was acknowledged: {lost & self.stands}")
            return
        self.stands -= lost
        for waiting in self._waiting.values():
            waiting.difference_update(lost)

    def answered(self, request: Hashable, well: set[Promise], named: set[Promise], refused: set[Promise]) -> None:
        """well: what was answered well; what was taken back since it was asked for is not promised by that. refused: by
        the rules; of that the answer names what the spender has had all the time."""
        unsaid = self._had.pop(request) & refused - named
        if unsaid:
            raise Violation(f"refused, and the answer does not say that its spender has {unsaid}")
        waited = self._waiting.pop(request)
        self.stands |= well & waited
        self.loose |= well - waited
        self.named |= named

    def check_named(self, records: Mapping[bytes, Bins]) -> None:
        held = {promise for key, bins in records.items() for promise in held_in(key, bins)}
        if self.stands - held:
            raise Violation(f"acknowledged, and not so: {self.stands - held}")
        unsaid = held - self.stands - self.loose - self.named
        if unsaid:
            raise Violation(f"held, and no answer says so: {unsaid}")


def check_counters(records: Mapping[bytes, Bins], txid: bytes, children: Iterable[bytes]) -> None:
    """The master's counter, and its delete-at-height, are what its children's coins say."""
    master = records[txid]
    spent_children = [is_spent(records[key]) for key in children]
    spent = sum(spent_children)
    if master["spentExtraRecs"] != spent:
        raise Violation(f"{master['spentExtraRecs']} children count as spent, where {spent} are")
    finished = all(spent_children) and is_spent(master) and "unminedSince" not in master and not master["locked"]
    if finished != ("deleteAtHeight" in master):
        raise Violation("what is finished stays" if finished else "what holds a live coin is to be deleted")


def check_marks(records: Mapping[bytes, Bins], txid: bytes, children: Iterable[bytes]) -> None:
    """No child is to be deleted at another height than its master. (A lock that comes late takes a child's away.)"""
    for key in children:
        if records[key].get("deleteAtHeight") not in (None, records[txid].get("deleteAtHeight")):
            raise Violation("a child is to be deleted, and its master is not, or at another height")


def check_locks(records: Mapping[bytes, Bins], txid: bytes, children: Iterable[bytes]) -> None:
    for key in children:
        if records[key]["locked"] != records[txid]["locked"]:
            raise Violation(f"a child is {'' if records[key]['locked'] else 'not '}locked, and its master not so")


def is_spent(bins: Mapping[str, Any]) -> bool:
    return bool(bins["spentUtxos"] == bins["recordUtxos"])
