"""Whatever a dispatch meets, each of its items is answered once, with the right code, and the others are unharmed."""

import functools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

from protocol.item_flags import MINED_ON_LONGEST_CHAIN
from protocol.wire import ONE_TRANSACTION, Error
from store import Read, Store, open_store
from store.faulty import FaultyStore
from store.layout import create_records, record_key
from store.transaction import Transaction
from tests.support.dispatching import HEIGHT, dispatch, output_of
from tests.support.wrapped import Silent, Wrapped, calls
from utxod.generate import Generator
from workers.runtime.batch import Batch
from workers.runtime.executor import Operation

ITEMS = 5
HIT = 2  # the item that a fault hits

Item = Callable[[Transaction], list[Any]]


class Row(NamedTuple):
    """item: what is asked of a coinbase. before: an operation, and its item, that must have been done. is_new: the
    coinbase is not in the set."""

    item: Item
    before: tuple[str, Item] | None = None
    is_new: bool = False


def output_item(coinbase: Transaction) -> list[Any]:
    return output_of(coinbase, 0)


def spend_item(coinbase: Transaction) -> list[Any]:
    """Its first output, spent by a transaction that is not there."""
    return [*output_item(coinbase), spender_of(coinbase), 0, HEIGHT, 0]


def spender_of(coinbase: Transaction) -> bytes:
    return coinbase.txid[::-1]


# A line for each operation that a submitter may ask for.
ROWS: dict[str, Row] = {
    "get": Row(lambda coinbase: [coinbase.txid, None]),
    "outpoint": Row(lambda coinbase: [coinbase.txid, 1]),
    "utxo": Row(lambda coinbase: [coinbase.txid, 1, None]),
    "accept": Row(lambda coinbase: [coinbase.raw, HEIGHT, [], 0], is_new=True),
    "create": Row(lambda coinbase: [coinbase.raw, HEIGHT, [], 0, None], is_new=True),
    "spend": Row(spend_item),
    "unspend": Row(spend_item, before=("spend", spend_item)),
    "abandon": Row(lambda coinbase: [spender_of(coinbase), [[coinbase.txid, 0]], HEIGHT], before=("spend", spend_item)),
    "increment": Row(lambda coinbase: [coinbase.txid, 1, HEIGHT]),
    "set_dah": Row(lambda coinbase: [coinbase.txid, 1, 500]),
    "set_locked": Row(lambda coinbase: [coinbase.txid, True]),
    "set_mined": Row(lambda coinbase: [coinbase.txid, 7, HEIGHT, 0, HEIGHT, MINED_ON_LONGEST_CHAIN]),
    "mark_longest_chain": Row(lambda coinbase: [coinbase.txid, False, HEIGHT]),
    "freeze": Row(output_item),
    "unfreeze": Row(output_item, before=("freeze", output_item)),
    "reassign": Row(lambda coinbase: [*output_item(coinbase), 1, b"\x51", HEIGHT, 10], before=("freeze", output_item)),
    "preserve_until": Row(lambda coinbase: [coinbase.txid, 500]),
    "set_conflicting": Row(lambda coinbase: [coinbase.txid, True, HEIGHT]),
}
OPERATIONS = list(ROWS)


def items_of(operation: str, store: Store, generate: Generator) -> list[Any]:
    """Items on coinbases of their own, all of which would be well."""
    return [ROWS[operation].item(coinbase) for coinbase in prepared(operation, store, generate)]


def prepared(operation: str, store: Store, generate: Generator) -> list[Transaction]:
    """A coinbase for each item."""
    row = ROWS[operation]
    coinbases = [generate.coinbase([1, 2] if row.is_new else [1, 2, 3, 4]) for _ in range(ITEMS)]
    if not row.is_new:
        assert dispatch(store, "create", [[coinbase.raw, 1, [], 0, None] for coinbase in coinbases]).results
    if row.before is not None:
        before, item = row.before
        assert dispatch(store, before, [item(coinbase) for coinbase in coinbases]).results
    return coinbases


class RaisesBefore(Batch):
    """Its operation raises as soon as it looks at the batch."""

    def good_items(self) -> Iterable[tuple[int, Any]]:
        raise RuntimeError("injected: before the store call")


class RaisesHalfWay(Batch):
    """Its operation raises as it completes the item that is hit."""

    raised = False

    def _trip(self, index: int) -> None:
        if index == HIT and not self.raised:
            self.raised = True
            raise RuntimeError("injected: half way through the results")

    def complete(self, index: int, result: Any) -> None:
        self._trip(index)
        super().complete(index, result)

    def fail(self, index: int, error: Error) -> None:
        self._trip(index)
        super().fail(index, error)


class Raising(Wrapped):
    """A store whose every batch raises what no store should."""

    def batch_operate(self, record_operations: Sequence[Any], budget: float) -> list[Any]:
        raise KeyError("injected")


class Case(NamedTuple):
    """What is injected, and what the items then are: `hit` alone, or those from `first` on."""

    name: str
    code: str
    executed: str | None
    harmed: range
    batch: type[Batch] = Batch
    fault: dict[str, Any] | None = None
    raising: bool = False


ALL = range(ITEMS)
CASES = [
    Case("all well", "OK", None, range(0)),
    Case("an exception before the store call", "INTERNAL", "no", ALL, batch=RaisesBefore),
    Case("an exception half way through the results", "INTERNAL", "unknown", range(HIT, ITEMS), batch=RaisesHalfWay),
    Case("batch_operate raises before it wrote", "STORE_ERROR", "no", ALL, fault={"kind": "raise_before"}),
    Case("batch_operate raises, in doubt", "STORE_ERROR", "unknown", ALL, fault={"kind": "raise_after"}),
    Case("batch_operate raises what no store should", "INTERNAL", "unknown", ALL, raising=True),
    Case("one record fails", "STORE_ERROR", "no", range(HIT, HIT + 1), fault={"kind": "fail", "index": HIT}),
    Case("a result is None", "INTERNAL", "unknown", range(HIT, HIT + 1), fault={"kind": "none", "index": HIT}),
    Case("a result is missing", "INTERNAL", "unknown", range(HIT, HIT + 1), fault={"kind": "drop", "index": HIT}),
    Case("a result is malformed", "INTERNAL", "unknown", range(HIT, HIT + 1), fault={"kind": "malform", "index": HIT}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_item_is_answered_once_with_the_right_code(
    operation: str, case: Case, store: Store, generate: Generator
) -> None:
    items = items_of(operation, store, generate)
    target: Any = Raising(store) if case.raising else FaultyStore(store, [dict(case.fault)] if case.fault else [])
    dispatched = dispatch(target, operation, items, batch_class=case.batch)
    assert len(dispatched.outcomes) == ITEMS
    for index, outcome in enumerate(dispatched.outcomes):
        expected = (case.code, case.executed) if index in case.harmed else ("OK", None)
        assert (outcome.code, outcome.executed) == expected, (index, outcome)
    assert dispatched.batch.ignored == 0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_the_store_fails_as_a_whole_is_said_in_the_log_once_whoever_deals_with_it(
    operation: str, store: Store, generate: Generator, caplog: pytest.LogCaptureFixture
) -> None:
    items = items_of(operation, store, generate)
    dispatch(FaultyStore(store, [{"kind": "raise_before"}]), operation, items)
    said = [record.getMessage() for record in caplog.records if "the store failed" in record.getMessage()]
    assert said == [f"{operation} of {ITEMS} items: the store failed: injected: before the batch"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_answered_no_is_not_there(operation: str, store: Store, generate: Generator) -> None:
    """`executed: no` of a store error is held against the set itself."""
    coinbases = prepared(operation, store, generate)
    items = [ROWS[operation].item(coinbase) for coinbase in coinbases]
    before = _content(store, coinbases)
    for fault in ({"kind": "raise_before"}, {"kind": "fail", "index": HIT}):
        dispatched = dispatch(FaultyStore(store, [fault]), operation, items)
        for index, outcome in enumerate(dispatched.outcomes):
            if outcome.executed == "no":
                assert _content(store, coinbases)[index] == before[index]


def _content(store: Store, coinbases: Sequence[Transaction]) -> list[Any]:
    """Of each, its records."""
    reads = [Read(record_key(coinbase.txid, record)) for coinbase in coinbases for record in range(2)]
    found = [(result.status, result.value) for result in store.batch_operate(reads, 30.0)]
    return list(zip(found[::2], found[1::2], strict=True))


def test_a_second_completion_is_ignored_and_counted(store: Store) -> None:
    def completes_twice(context: Any) -> None:
        context.batch.complete(0, "first")
        context.batch.complete(0, "second")
        context.batch.fail(0, Error("INTERNAL", "no"))

    dispatched = dispatch(store, "twice", [1], operations={"twice": Operation(completes_twice)})
    assert dispatched.results == ["first"]
    assert dispatched.batch.ignored == 2


def test_an_item_that_an_operation_forgets_is_failed(store: Store) -> None:
    def forgets(context: Any) -> None:
        context.batch.complete(0, "done")

    dispatched = dispatch(store, "forgets", [1, 2], operations={"forgets": Operation(forgets)})
    assert [(outcome.code, outcome.executed) for outcome in dispatched.outcomes] == [("OK", None), ("INTERNAL", "no")]


@pytest.mark.parametrize(
    "value", [object(), 1 << 64, "\ud800", functools.reduce(lambda inner, _: [inner], range(5000), [])]
)
def test_a_result_that_can_not_be_sent_fails_its_item_alone(store: Store, value: Any) -> None:
    def finds(context: Any) -> None:
        for index in range(5):
            context.batch.complete(index, {"found": value if index == 1 else index})

    outcomes = dispatch(store, "finds", [1, 2, 3], [4, 5], operations={"finds": Operation(finds)}).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes if outcome.error] == [("INTERNAL", "unknown")]
    assert [outcome.result for outcome in outcomes] == [{"found": 0}, None, *[{"found": n} for n in (2, 3, 4)]]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_dispatch_to_which_the_store_gave_no_answer_says_so(
    store: Store, generate: Generator, operation: str
) -> None:
    items = items_of(operation, store, generate)
    dispatched = dispatch(Silent(store), operation, items)
    assert dispatched.batch.timed_out
    assert set(dispatched.codes) == {"STORE_ERROR"}
    assert not dispatch(store, operation, items).batch.timed_out


def test_a_dispatch_that_had_one_answer_has_not_found_the_store_silent(store: Store, generate: Generator) -> None:
    spent, free = items_of("spend", store, generate)[:2]
    assert dispatch(store, "spend", [spent]).codes == ["OK"]
    rival = [*spent[:3], bytes(32), *spent[4:]]
    undoing = Silent(FaultyStore(store, [], atomic=False), calls("release"))
    mine = [*free[:3], bytes(32), *free[4:]]
    dispatched = dispatch(undoing, "spend", [rival, mine], flags=ONE_TRANSACTION)
    assert {(outcome.code, outcome.executed) for outcome in dispatched.outcomes} == {("STORE_ERROR", "unknown")}
    assert not dispatched.batch.timed_out


def test_a_creation_out_of_time_makes_no_more_records(store: Store) -> None:
    """A few bytes can ask for thousands of records: the store's budget does not bind their making."""
    made = 0

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal made
        made += event == "call" and frame.f_code is create_records.__code__

    items = [[None, HEIGHT, [], 0, [bytes([number]) * 32, {5: [0, b""]}]] for number in range(9)]
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        outcomes = dispatch(store, "create", items, budget=0.0).outcomes
    finally:
        sys.setprofile(before)
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("STORE_ERROR", "no")] * 9
    assert made == 0


class OnSlowDisk(Wrapped):
    """A store each of whose blobs takes so many seconds."""

    def __init__(self, inner: Store, seconds: float) -> None:
        super().__init__(inner)
        self.calls: list[str] = []
        self.blobs = self
        self._seconds = seconds

    def put_new(self, source: Any) -> bool:
        self._wait("put_new")
        return self._inner.blobs.put_new(source)

    def get(self, txid: bytes) -> bytes | None:
        self._wait("get")
        return self._inner.blobs.get(txid)

    def _wait(self, call: str) -> None:
        self.calls.append(call)
        end = time.monotonic() + self._seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(left)


def test_a_slow_disk_of_blobs_makes_no_creation_outlast_its_time(tmp_path: Path) -> None:
    """Nothing of an item is executed before its records are written, which is after all blobs."""
    budget = 0.3
    store = open_store(f"lmdb://{tmp_path / 'set'}?utxo_batch_size=2")
    slow = OnSlowDisk(store, budget)
    items = [[None, HEIGHT, [], 0, [bytes([number]) * 32, {5: [0, b""]}]] for number in range(5)]
    outcomes = dispatch(slow, "create", items, budget=budget).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("STORE_ERROR", "no")] * 5
    assert len(slow.calls) <= 1
    store.close()


def test_a_slow_disk_of_blobs_makes_no_get_outlast_its_time(tmp_path: Path, generate: Generator) -> None:
    store, budget = open_store(f"lmdb://{tmp_path / 'set'}?utxo_batch_size=2"), 0.3
    coinbases = [generate.coinbase([1, 2, 3]) for _ in range(5)]
    dispatch(store, "create", [[coinbase.raw, 1, [], 0, None] for coinbase in coinbases])
    slow = OnSlowDisk(store, budget)
    outcomes = dispatch(slow, "get", [[coinbase.txid, ["tx"]] for coinbase in coinbases], budget=budget).outcomes
    assert len(slow.calls) <= 1
    assert [(outcome.code, outcome.executed) for outcome in outcomes[1:]] == [("STORE_ERROR", "no")] * 4
    store.close()
