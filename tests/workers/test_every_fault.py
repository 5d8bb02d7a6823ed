"""Operations of several store calls: whichever call meets whichever fault at whichever of its records, each item is
answered once; `no` is never wrong; where one record is hit, the other items are unharmed; and asking again completes
it.

The tests take every so many-th of the cases; with EVERY_FAULT=1 in the environment all of them.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from protocol.item_flags import ACCEPT_CONFLICTING, MINED_ON_LONGEST_CHAIN
from store import Mode, Read, RecordOperation, Result, Status, Store, Write, open_store
from store.faulty import FaultyStore
from store.layout import ABANDONED, record_key
from store.transaction import Transaction
from tests.support.accepting import item as accept_item
from tests.support.accepting import payment
from tests.support.dispatching import HEIGHT, Dispatched, Outcome, dispatch, matured, output_of
from tests.support.wrapped import Wrapped
from utxod.generate import Generator

STEP: Final = int(os.environ.get("EVERY_FAULT", "3"))
ITEMS: Final = 3
KINDS: Final = ("raise_before", "raise_after", "fail", "none", "drop", "malform", "raises what no store should")
OF_ONE_RECORD: Final = frozenset({"fail", "none", "drop", "malform"})
# A word that says again what is so already.
UNCHANGING: Final = frozenset({"joined", "stateSeq", "lastSpentState"})


class Asked(NamedTuple):
    """item: what is asked. watched: the transactions that it may change."""

    item: list[Any]
    watched: Sequence[Transaction]


class Family:
    """A coinbase of two records, and a transaction that spends two of its outputs: of one record, or of three."""

    def __init__(self, store: Store, generate: Generator, *, is_large: bool) -> None:
        self._store = store
        self.coinbase = matured(self.run, generate, [10, 20, 30])
        coins = [(self.coinbase, 2), (self.coinbase, 0)]
        self.transaction = payment(generate, *coins, outputs=5 if is_large else 2)
        standard = payment(generate, (self.coinbase, 1), outputs=5 if is_large else 2, is_extended=False)
        self.of_unknown_fee = standard

    def run(self, operation: str, *requests: Sequence[Any], **options: Any) -> Dispatched:
        dispatched = dispatch(self._store, operation, *requests, **options)
        assert dispatched.results
        return dispatched

    @property
    def txid(self) -> bytes:
        return self.transaction.txid

    @property
    def spends(self) -> list[list[Any]]:
        outpoints = enumerate(self.transaction.outpoints)
        return [[*output_of(self.coinbase, vout), self.txid, vin, HEIGHT, 0] for vin, (_, vout) in outpoints]

    def spend(self) -> None:
        self.run("spend", self.spends)

    def accept(self, **bins: Any) -> None:
        self.run("accept", [accept_item(self.transaction)])
        if bins:
            self._store.batch_operate([Write(self.txid, bins, Mode.UPDATE)], 30.0)

    def abandon(self) -> list[Any]:
        return [self.txid, [list(outpoint) for outpoint in self.transaction.outpoints], HEIGHT]


def _accepts_what_is_there(family: Family) -> list[Any]:
    family.accept()
    return accept_item(family.transaction, mined=[[7, HEIGHT, 0]])


def _accepts_what_is_begun(family: Family) -> list[Any]:
    family.accept(creating=True)
    return accept_item(family.transaction, mined=[[7, HEIGHT, 0]])


def _abandons(family: Family) -> list[Any]:
    family.spend()
    return family.abandon()


def _abandons_conflicting(family: Family) -> list[Any]:
    family.accept()
    family.run("set_conflicting", [[family.txid, True, HEIGHT]])
    return family.abandon()


def _unspends(family: Family) -> list[Any]:
    family.spend()
    return family.spends[0]


def _marks(family: Family) -> list[Any]:
    family.accept()
    return [family.txid, True, HEIGHT]


def _mines(family: Family) -> list[Any]:
    family.accept()
    return [family.txid, 7, HEIGHT, 0, HEIGHT, MINED_ON_LONGEST_CHAIN]


Prepare = Callable[[Family], list[Any]]

SCENES: Final[dict[str, tuple[str, Prepare]]] = {
    "accept": ("accept", lambda family: accept_item(family.transaction)),
    "accept, as conflicting": ("accept", lambda family: accept_item(family.transaction, flags=ACCEPT_CONFLICTING)),
    "accept, of unknown fee": ("accept", lambda family: accept_item(family.of_unknown_fee)),
    "accept of what is there": ("accept", _accepts_what_is_there),
    "accept of what is begun": ("accept", _accepts_what_is_begun),
    "abandon": ("abandon", _abandons),
    "abandon of what is conflicting": ("abandon", _abandons_conflicting),
    "unspend": ("unspend", _unspends),
    "set_conflicting": ("set_conflicting", _marks),
    "set_mined": ("set_mined", _mines),
}


def _scene(store: Store, generate: Generator, name: str) -> tuple[str, list[Asked]]:
    operation, prepare = SCENES[name]
    asked = []
    for number in range(ITEMS):
        family = Family(store, generate, is_large=number == 1)
        item = prepare(family)
        asked.append(Asked(item, (family.coinbase, family.transaction, family.of_unknown_fee)))
    return operation, asked


class Hit(Wrapped):
    """One of its calls meets a fault, at one of its records. sizes: of the calls."""

    def __init__(self, inner: Store, is_atomic: bool, call: int = -1, record: int = 0, kind: str = "") -> None:
        super().__init__(inner)
        self.is_atomic = is_atomic
        self._call, self._record, self._kind = call, record, kind
        self.sizes: list[int] = []

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        self.sizes.append(len(record_operations))
        if len(self.sizes) - 1 != self._call or self._record >= len(record_operations):
            return list(self._inner.batch_operate(record_operations, budget))
        if self._kind not in OF_ONE_RECORD | {"raise_before", "raise_after"}:
            raise KeyError("injected")
        fault = {"kind": self._kind, "index": self._record}
        return list(FaultyStore(self._inner, [fault], atomic=self.is_atomic).batch_operate(record_operations, budget))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"lmdb://{tmp_path / 'set'}?utxo_batch_size=2")
    yield store
    store.close()


def _content(store: Store, asked: Asked) -> list[Any]:
    """All that it may change. What bars a creation is no transaction."""
    reads = [
        Read(record_key(transaction.txid, record))
        for transaction in asked.watched
        for record in range(-(-len(transaction.outputs) // store.utxo_batch_size))
    ]
    found = [result.value if result.status is Status.OK else None for result in store.batch_operate(reads, 30.0)]
    return [
        None if bins is None or ABANDONED in bins else {name: bins[name] for name in bins.keys() - UNCHANGING}
        for bins in found
    ]


def _cases(store: Store, generate: Generator, scene: str, is_atomic: bool) -> Iterator[tuple[int, int, str]]:
    """Call, record and kind: of every call that is made where all is well, and of two more."""
    operation, asked = _scene(store, generate, scene)
    well = Hit(store, is_atomic)
    assert dispatch(well, operation, [each.item for each in asked]).codes == ["OK"] * ITEMS
    for call, size in enumerate([*well.sizes, 1, 1]):
        for record, kind in itertools.product(range(size), KINDS):
            if record == 0 or kind in OF_ONE_RECORD:
                yield call, record, kind


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_atomic", [True, False], ids=["as one whole", "record by record"])
@pytest.mark.parametrize("scene", SCENES)
def test_whatever_a_call_meets_each_item_is_answered_once_and_truly(
    store: Store, generate: Generator, scene: str, is_atomic: bool
) -> None:
    wrong = []
    for case in itertools.islice(_cases(store, generate, scene, is_atomic), 0, None, STEP):
        operation, asked = _scene(store, generate, scene)
        before = [_content(store, each) for each in asked]
        dispatched = dispatch(Hit(store, is_atomic, *case), operation, [each.item for each in asked])
        after = [_content(store, each) for each in asked]
        found = _judge(dispatched, before, after, case[2])
        again = dispatch(Hit(store, is_atomic), operation, [each.item for each in asked])
        found += [f"asked again: {outcome}" for outcome in again.outcomes if not _is_well_or_later(outcome)]
        wrong += [(case, each) for each in found]
    assert wrong == []


def _is_well_or_later(outcome: Outcome) -> bool:
    """A creation lock that was left goes by itself."""
    return outcome.error is None or bool(outcome.error.retry_after)


def _judge(dispatched: Dispatched, before: list[Any], after: list[Any], kind: str) -> list[str]:
    failed: list[Outcome] = [outcome for outcome in dispatched.outcomes if outcome.error is not None]
    wrong = []
    if len(dispatched.outcomes) != ITEMS or dispatched.batch.ignored:
        wrong.append(f"{len(dispatched.outcomes)} answers, and {dispatched.batch.ignored} more")
    if kind in OF_ONE_RECORD and len(failed) > 1:
        wrong.append(f"a neighbour failed: {failed}")
    for outcome, was, now in zip(dispatched.outcomes, before, after, strict=True):
        if outcome.executed == "no" and was != now:
            wrong.append(f"`no`, and it has changed: {outcome}")
    return wrong
