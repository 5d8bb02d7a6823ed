"""What accept tells is true of all that its dispatch did: `no` where nothing of the item was written, `unknown` with
the outpoints; and one item's trouble is its own. In a store whose batches are one whole, and in one that takes record
by record."""

import itertools
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest

from protocol.item_flags import ACCEPT_CONFLICTING, ACCEPT_LOCKED
from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Store, Write
from store.faulty import FaultyStore
from store.layout import ABANDONED, child_key, lock_key
from store.transaction import Transaction, parse_transaction
from tests.support.abandoning import check_abandoned, mark_abandoned
from tests.support.accepting import details, extended, is_there, item, outpoints_of, payment, spender_of
from tests.support.dispatching import HEIGHT, Run, bins_of, create, dispatch, execute_follow_ups, matured, records_of
from tests.support.wrapped import Recording, Wrapped
from tests.workers.test_accept_faults import FAULTS, AtCall, check_answers, complete, scene_of
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


# ---- one that is there, and all that is done for it


def leave_unfinished(store: Store, transaction: Transaction) -> None:
    """As a creator that died."""
    keys = [transaction.txid, *(child_key(transaction.txid, number) for number in (1, 2))]
    store.batch_operate([Write(key, {"creating": True}, Mode.UPDATE) for key in keys], 30.0)


def content(store: Store, *transactions: Transaction) -> list[Any]:
    return [records_of(store, transaction) for transaction in transactions]


@pytest.mark.parametrize("flags", [0, ACCEPT_CONFLICTING], ids=["spending", "conflicting"])
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: " ".join(map(str, fault.values())))
def test_no_is_never_said_of_one_that_is_there_and_of_which_something_was_written(
    run: Run, store: Any, generate: Generator, fault: dict[str, Any], blocks: int, flags: int
) -> None:
    for call in itertools.count():
        parent = matured(run, generate, [10])
        child = payment(generate, (parent, 0), outputs=5)
        assert run("accept", [item(child, flags=flags)]).results
        leave_unfinished(store, child)
        store.batch_operate([Write(parent.txid, {"conflictingCs": None}, Mode.UPDATE)], 30.0)
        before = content(store, parent, child)
        at_call = AtCall(store, call, fault)
        mined = [(7 + number, HEIGHT, 0) for number in range(blocks)]
        (outcome,) = dispatch(at_call, "accept", [item(child, mined=mined, flags=flags)]).outcomes
        if not at_call.hit:
            assert outcome.code == "OK"
            break
        if outcome.executed == "no":
            assert content(store, parent, child) == before
        if outcome.executed == "unknown":
            assert details(outcome)["outpoints"] == ([] if flags else outpoints_of(child))
    assert call >= 3


# ---- values of the store


@pytest.mark.parametrize("index", range(4))
def test_a_read_that_is_malformed_fails_its_item_alone_and_leaves_no_lock(
    run: Run, store: Any, generate: Generator, index: int
) -> None:
    """Two of several records, one of which is begun by a creator that died, between them a small one."""
    for call in itertools.count():
        parent = matured(run, generate, [10, 20, 30])
        children = [payment(generate, (parent, vout), outputs=count) for vout, count in ((0, 5), (1, 2), (2, 5))]
        stored = Write(child_key(children[2].txid, 1), {"creating": True}, Mode.CREATE)
        if not store.is_atomic:
            store.batch_operate([stored], 30.0)
        at_call = MalformedRead(store, call, index)
        outcomes = dispatch(at_call, "accept", [item(child) for child in children]).outcomes
        if not at_call.hit:
            break
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        assert len(failed) <= 1, outcomes
        for child, outcome in zip(children, outcomes, strict=True):
            if outcome.executed == "unknown":
                assert details(outcome)["outpoints"] == outpoints_of(child)
            if outcome.executed == "no":
                (lock,) = store.batch_operate([Read(lock_key(child.txid))], 30.0)
                assert lock.status is Status.NOT_FOUND
                assert spender_of(store, (parent, child.outpoints[0][1])) is None


class MalformedRead(Wrapped):
    """Of one of the calls that read, one of the results is no map of bins."""

    def __init__(self, inner: Any, call: int, index: int) -> None:
        super().__init__(inner)
        self._left = call
        self._index = index
        self.hit = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        results: list[Result] = self._inner.batch_operate(record_operations, budget)
        if type(record_operations[0]) is Read:
            self._left -= 1
            if self._left == -1:
                self.hit = True
                if self._index < len(results):
                    results[self._index] = Result(Status.OK, "no map", key=results[self._index].key)
        return results


class Says(Wrapped):
    """What it says of one record has bins of another kind than they should be."""

    def __init__(self, inner: Any, key: bytes, bins: dict[str, Any]) -> None:
        super().__init__(inner)
        self._key = key
        self._bins = bins

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        results = self._inner.batch_operate(record_operations, budget)
        return [
            Result(result.status, {**result.value, **self._bins}, key=result.key)
            if type(operation) is Read and operation.key == self._key and result.status is Status.OK
            else result
            for operation, result in zip(record_operations, results, strict=True)
        ]


WRONG: list[dict[str, Any]] = [
    {"totalExtraRecs": "x"},
    {"totalExtraRecs": -1},
    {"lockSeq": "x"},
    {"blockIDs": 7},
    {"creating": "x"},
    {"fee": "x"},
]


@pytest.mark.parametrize("operation", ["accept", "create"])
@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_bin_that_is_of_another_kind_fails_its_item_alone(
    run: Run, store: Any, generate: Generator, wrong: dict[str, Any], operation: str
) -> None:
    parent = matured(run, generate, [10, 20])
    there, fresh = payment(generate, (parent, 0), outputs=5), payment(generate, (parent, 1))
    assert run("accept", [item(there)]).results
    items = [item(there, mined=[(7, HEIGHT, 0)]), item(fresh)]
    if operation == "create":
        items = [[raw, height, mined, flags, None] for raw, height, mined, flags in items]
    outcomes = dispatch(Says(store, there.txid, wrong), operation, items).outcomes
    assert [outcome.code for outcome in outcomes] == ["INTERNAL", "OK"]


def test_a_master_that_does_not_tell_its_children_fails_its_set_dah_alone(
    run: Run, store: Any, generate: Generator
) -> None:
    coinbase, other = matured(run, generate, [1, 2, 3, 4, 5]), matured(run, generate, [1, 2, 3])
    store.batch_operate([Remove(child_key(coinbase.txid, 1))], 30.0)
    says = Says(store, coinbase.txid, {"totalExtraRecs": "x"})
    outcomes = dispatch(says, "set_dah", [[coinbase.txid, 1, 500], [other.txid, 1, 500]]).outcomes
    assert [outcome.code for outcome in outcomes] == ["INTERNAL", "OK"]


# ---- whatever is raised


class RaisesAt(Wrapped):
    """One of its calls raises what no store should, after or before it is done."""

    def __init__(self, inner: Any, call: int, *, is_done: bool) -> None:
        super().__init__(inner)
        self._left = call
        self._is_done = is_done
        self.hit = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        self._left -= 1
        if self._left == -1:
            self.hit = True
            if self._is_done:
                self._inner.batch_operate(record_operations, budget)
            raise KeyError("injected")
        results: list[Result] = self._inner.batch_operate(record_operations, budget)
        return results


@pytest.mark.parametrize("is_done", [True, False], ids=["after it", "before it"])
@pytest.mark.parametrize("is_extended", [True, False], ids=["extended", "standard"])
def test_whatever_a_store_raises_what_is_accepted_is_told_and_what_may_be_held_is_named(
    run: Run, store: Any, generate: Generator, is_extended: bool, is_done: bool
) -> None:
    for call in itertools.count():
        scene = scene_of(run, generate, is_extended=is_extended)
        raises = RaisesAt(store, call, is_done=is_done)
        outcomes = dispatch(raises, "accept", scene.items).outcomes
        check_answers(store, scene, outcomes)
        if not raises.hit:
            break
        for outcome in outcomes:
            assert outcome.executed != "unknown" or "outpoints" in details(outcome)
        complete(run, store, scene)
    assert call >= 2


def test_what_came_before_a_trouble_of_accepts_own_is_told_as_it_is(run: Run, store: Any, generate: Generator) -> None:
    """Parent, child and grandchild; the store takes them record by record, and the child's level fails."""
    if store.is_atomic:
        pytest.skip("there they are one batch")
    coinbase = matured(run, generate, [9])
    chain = [payment(generate, (coinbase, 0))]
    chain += [payment(generate, (chain[0], 0))]
    chain += [payment(generate, (chain[1], 0))]

    class Breaks(Wrapped):
        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            results: list[Result] = self._inner.batch_operate(record_operations, budget)
            if any(type(operation) is RuleCall and operation.key == chain[0].txid for operation in record_operations):
                raise KeyError("injected")
            return results

    outcomes = dispatch(Breaks(store), "accept", [item(each) for each in chain]).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "INTERNAL", "INTERNAL"]
    assert [outcome.executed for outcome in outcomes] == [None, "unknown", "no"]
    assert details(outcomes[1])["outpoints"] == outpoints_of(chain[1])
    assert details(outcomes[2])["unseen"] == outpoints_of(chain[2])
    assert [is_there(store, each.txid) for each in chain] == [True, False, False]


# ---- refusals


def test_one_that_is_refused_before_its_inputs_are_looked_at_says_so(run: Run, store: Any, generate: Generator) -> None:
    parent = matured(run, generate, [1, 2])
    child = payment(generate, (parent, 0), (parent, 1))
    (outcome,) = dispatch(FaultyStore(store, [{"kind": "fail"}]), "accept", [item(child)]).outcomes
    assert (outcome.code, outcome.executed) == ("STORE_ERROR", "no")
    assert details(outcome)["unseen"] == outpoints_of(child)
    if not store.is_atomic:
        mark_abandoned(store, child.txid)
        (outcome,) = run("accept", [item(child)]).outcomes
        check_abandoned(outcome)
        assert details(outcome)["unseen"] == outpoints_of(child)
        assert bins_of(store, child.txid) == {ABANDONED: True}


def test_of_rivals_that_could_come_together_the_earlier_item_wins(run: Run, store: Any, generate: Generator) -> None:
    parent = matured(run, generate, [10])
    one, other = payment(generate, (parent, 0)), payment(generate, (parent, 0), outputs=3)
    of_the_other = payment(generate, (other, 2))
    codes = run("accept", [item(of_the_other), item(one), item(other)]).codes
    assert codes == ["TX_NOT_FOUND", "OK", "SPENT"]


# ---- bounds


def calls_of(function: Callable[..., Any], work: Callable[[], Any]) -> int:
    """How often it is called meanwhile."""
    count = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code is function.__code__

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_out_of_time_no_further_item_is_parsed(run: Run, store: Any, generate: Generator) -> None:
    parent = matured(run, generate, [1] * 9)
    items = [item(payment(generate, (parent, vout))) for vout in range(9)]
    assert calls_of(parse_transaction, lambda: dispatch(store, "accept", items, budget=0.0)) <= 1


def test_items_of_one_transaction_that_all_meet_the_same_take_as_long_as_one(
    run: Run, store: Any, generate: Generator
) -> None:
    parent = matured(run, generate, [10])
    child, rival = payment(generate, (parent, 0)), payment(generate, (parent, 0), outputs=3)
    assert run("accept", [item(rival)]).results
    recordings = [Recording(store), Recording(store)]
    for number, each in zip((1, 40), recordings, strict=True):
        items = [item(child, height=HEIGHT + height, flags=ACCEPT_LOCKED * (height % 2)) for height in range(number)]
        assert set(dispatch(each, "accept", items).codes) == {"SPENT"}
    assert len(recordings[0].batches) == len(recordings[1].batches)


def test_items_of_one_transaction_that_differ_are_tried_in_bounded_rounds(
    run: Run, store: Any, generate: Generator
) -> None:
    """Immature at each of their heights: those that are not tried are to be asked again, and nothing of them is
    done."""
    coinbase = generate.coinbase([5])
    create(run, coinbase, height=HEIGHT)
    child = payment(generate, (coinbase, 0))
    recordings = [Recording(store), Recording(store)]
    for number, each in zip((10, 40), recordings, strict=True):
        outcomes = dispatch(each, "accept", [item(child, height=HEIGHT + height) for height in range(number)]).outcomes
        assert {outcome.executed for outcome in outcomes} == {"no"}
        assert outcomes[0].code == "COINBASE_IMMATURE"
        assert outcomes[-1].code == "OVERLOADED"
        assert outcomes[-1].error is not None
        assert outcomes[-1].error.retry_after > 0
    assert len(recordings[0].batches) == len(recordings[1].batches)


def test_one_format_of_a_transaction_is_not_refused_for_what_the_other_says(
    run: Run, store: Any, generate: Generator
) -> None:
    parent = matured(run, generate, [10])
    child = payment(generate, (parent, 0))
    lie = extended(child.in_standard_format(), [(generate.coinbase([11]), 0)])
    assert run("accept", [item(lie), item(child.in_standard_format())]).codes == ["UTXO_HASH_MISMATCH", "OK"]


def test_what_is_conflicting_is_judged_by_itself(run: Run, store: Any, generate: Generator) -> None:
    """That its rival was refused as SPENT says nothing of one that spends nothing."""
    parent = matured(run, generate, [10])
    child, rival = payment(generate, (parent, 0)), payment(generate, (parent, 0), outputs=3)
    assert run("accept", [item(rival)]).results
    assert run("accept", [item(child), item(child, flags=ACCEPT_CONFLICTING)]).codes == ["SPENT", "OK"]
    execute_follow_ups(run, run("accept", [item(child)]))
