"""set_conflicting: every record is marked as its master is in the end, and nobody is missing from the answer, whatever
comes between its steps; what can't be read is a fault."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from store import Mode, RecordOperation, Remove, Result, RuleCall, Store, Write
from store.faulty import FaultyStore
from store.layout import ABANDONED, child_key
from store.transaction import Transaction
from tests.support.dispatching import (
    HEIGHT,
    RETENTION,
    Dispatched,
    Run,
    bins_of,
    create,
    dispatch,
    execute_follow_ups,
    matured,
    output_of,
    records_of,
)
from tests.support.wrapped import Wrapped
from utxod.generate import Generator


class Family:
    """A transaction of three records that spends two outputs of a parent of three, one of them in a child record."""

    def __init__(self, run: Run, generate: Generator) -> None:
        self._run = run
        self.parent = matured(run, generate, [10] * 5)
        self.outpoints = [[self.parent.txid, vout] for vout in (4, 0)]
        self.child = generate.payment([(self.parent, vout) for _, vout in self.outpoints], 5)
        spends = [[*output_of(self.parent, vout), self.child.txid, vin, HEIGHT, 0] for vin, vout in enumerate((4, 0))]
        run("spend", spends).results  # noqa: B018
        create(run, self.child)

    def spend(self, vout: int, spender: bytes, vin: int = 0) -> list[str]:
        """The code of the spend of an output of the child."""
        return self._run("spend", [[*output_of(self.child, vout), spender, vin, HEIGHT, 0]]).codes


@pytest.fixture
def family(run: Run, generate: Generator) -> Family:
    return Family(run, generate)


def mark(store: Store, *transactions: Transaction, value: bool = True) -> Dispatched:
    return dispatch(store, "set_conflicting", [[each.txid, value, HEIGHT] for each in transactions])


def marks(store: Store, transaction: Transaction) -> list[bool]:
    return [bins["conflicting"] for bins in records_of(store, transaction)]


def delete_at_heights(store: Store, transaction: Transaction) -> set[int | None]:
    return {bins.get("deleteAtHeight") for bins in records_of(store, transaction)}


class Between(Wrapped):
    """Does something before one of the batches, counted from 0. batches: how many there were."""

    def __init__(self, inner: Store, place: int, act: Callable[[], object]) -> None:
        super().__init__(inner)
        self.batches = 0
        self._place, self._act = place, act

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if self.batches == self._place:
            self._act()
        self.batches += 1
        return self._inner.batch_operate(record_operations, budget)


class FaultAt(Wrapped):
    """One of the batches, counted from 0, meets a fault."""

    def __init__(self, inner: Store, place: int, fault: dict[str, Any]) -> None:
        super().__init__(inner)
        self.operations: list[Sequence[RecordOperation]] = []
        self._place, self._faulty = place, FaultyStore(inner, [fault])

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        target = self._faulty if len(self.operations) == self._place else self._inner
        self.operations.append(record_operations)
        return target.batch_operate(record_operations, budget)


class Dies(BaseException):
    """The worker's process is gone."""


def dies() -> None:
    raise Dies


def places(store: Store, transaction: Transaction, value: bool) -> range:
    """Before which batch of a dispatch something can come, and after the last one."""
    counting = Between(store, -1, dies)
    mark(counting, transaction, value=value)
    return range(counting.batches + 1)


# ---- what it answers


def test_it_names_what_it_has_of_its_parents_and_who_spends_from_it(run: Run, store: Store, family: Family) -> None:
    for vout, spender in ((4, b"a"), (0, b"b"), (3, b"a")):
        assert family.spend(vout, spender * 32, vout) == ["OK"]
    run("freeze", [output_of(family.child, 1)]).results  # noqa: B018
    assert mark(store, family.child).results == [[family.outpoints, [b"b" * 32, b"a" * 32]]]
    assert marks(store, family.child) == [True] * 3


def test_it_names_only_what_it_still_has(run: Run, store: Store, family: Family) -> None:
    (txid, vout), kept = family.outpoints
    undo = [*output_of(family.parent, vout), family.child.txid, 0, HEIGHT, RETENTION]
    offset = vout % 2
    store.batch_operate(
        [RuleCall(child_key(txid, 2), "unspend", (offset, undo[2], undo[3] + bytes(4), *undo[5:]))], 30.0
    )
    assert mark(store, family.child).results == [[[kept], []]]
    run("spend", [[*output_of(family.parent, vout), b"r" * 32, 0, HEIGHT, 0]]).results  # noqa: B018
    assert mark(store, family.child).results == [[[kept], []]]


def test_what_is_not_known_of_parents_is_not_told_as_none(run: Run, store: Store, generate: Generator) -> None:
    """A coinbase has none; of what was created in part nobody knows, though a parent may name it."""
    partial = b"p" * 32
    outputs = {vout: [5, b"\x51"] for vout in range(3)}
    run("create", [[None, 1, [], 0, [partial, outputs]]]).results  # noqa: B018
    coinbases = [matured(run, generate, [1] * count) for count in (1, 3)]
    items = [[txid, True, HEIGHT] for txid in (partial, *(coinbase.txid for coinbase in coinbases))]
    assert run("set_conflicting", items).results == [[None, []], [[], []], [[], []]]


def test_a_parent_that_is_not_in_the_set_or_not_with_this_output_is_no_error(
    run: Run, store: Store, generate: Generator
) -> None:
    absent, partly = (generate.coinbase([10] * 5) for _ in range(2))
    run("create", [[None, 1, [], 0, [partly.txid, {0: [10, b"\x51"]}]]]).results  # noqa: B018
    child = generate.payment([(absent, 0), (absent, 4), (partly, 1), (partly, 4)])
    create(run, child)
    assert mark(store, child).results == [[[], []]]
    assert bins_of(store, partly.txid)["conflictingCs"] == [child.txid]


def test_a_parent_whose_creation_is_barred_is_not_in_the_set(run: Run, store: Store, generate: Generator) -> None:
    barred = generate.coinbase([10])
    child = generate.payment([(barred, 0)])
    create(run, child)
    bar: dict[str, Any] = {ABANDONED: True}
    store.batch_operate([Write(barred.txid, bar, Mode.CREATE)], 30.0)
    assert mark(FaultyStore(store, [], atomic=False), child).results == [[[], []]]
    assert bins_of(store, barred.txid) == bar


def test_it_is_noted_in_its_parents_once_and_only_where_it_is_conflicting(store: Store, family: Family) -> None:
    mark(store, family.child, value=False)
    assert "conflictingCs" not in bins_of(store, family.parent.txid)
    for _ in range(2):
        mark(store, family.child)
        assert bins_of(store, family.parent.txid)["conflictingCs"] == [family.child.txid]


@pytest.mark.parametrize("value", [True, False])
def test_asked_again_it_says_the_same_and_changes_nothing(store: Store, family: Family, value: bool) -> None:
    family.spend(3, b"a" * 32)
    first = mark(store, family.child, value=value)
    before = [*records_of(store, family.child), *records_of(store, family.parent)]
    assert mark(store, family.child, value=value).results == first.results == [[family.outpoints, [b"a" * 32]]]
    assert [*records_of(store, family.child), *records_of(store, family.parent)] == before


def test_what_is_missing_fails_alone(run: Run, store: Store, family: Family) -> None:
    items = [[txid, True, HEIGHT] for txid in (family.parent.txid, bytes(32), family.child.txid)]
    outcomes = run("set_conflicting", items).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [
        ("OK", None),
        ("TX_NOT_FOUND", "no"),
        ("OK", None),
    ]
    assert outcomes[0].result == [[], [family.child.txid]]


def test_of_one_transaction_what_is_asked_last_stands(run: Run, store: Store, family: Family) -> None:
    for values in ((True, False), (False, True)):
        dispatched = run("set_conflicting", [[family.child.txid, value, HEIGHT] for value in values])
        assert dispatched.results == [[family.outpoints, []]] * 2
        assert marks(store, family.child) == [values[-1]] * 3


def test_many_are_asked_in_no_more_calls_of_the_store_than_one(run: Run, store: Store, generate: Generator) -> None:
    families = [Family(run, generate).child for _ in range(4)]
    calls = [len(places(store, family, True)) for family in families[:1]]
    counting = Between(store, -1, dies)
    assert all(mark(counting, *families).results)
    assert [counting.batches + 1] == calls


# ---- its delete-at-height


@pytest.mark.parametrize("lost", [False, True], ids=["", "the word is lost, and it is asked again"])
def test_what_is_conflicting_has_a_delete_at_height_on_all_records(
    store: Store, run: Run, family: Family, lost: bool
) -> None:
    for value, expected in ((True, HEIGHT + RETENTION), (False, None)):
        dispatched = mark(store, family.child, value=value)
        if lost:
            assert delete_at_heights(store, family.child) == {None, HEIGHT + RETENTION}
            dispatched = mark(store, family.child, value=value)
        execute_follow_ups(run, dispatched)
        assert delete_at_heights(store, family.child) == {expected}


# ---- what comes between its steps


@pytest.mark.parametrize("vout", [0, 4], ids=["of the master", "of a child record"])
def test_whoever_spends_from_a_conflicting_transaction_is_in_the_answer(
    run: Run, store: Store, generate: Generator, vout: int
) -> None:
    """The spend comes before any of its steps: either it is refused, or its spender is named."""
    seen = set()
    for place in places(store, Family(run, generate).child, True):
        family = Family(run, generate)
        codes: list[str] = []
        between = Between(store, place, lambda family=family, codes=codes: codes.extend(family.spend(vout, b"a" * 32)))  # type: ignore[misc]
        ((_, spenders),) = mark(between, family.child).results
        codes = codes or family.spend(vout, b"a" * 32)
        assert (codes, spenders) in [(["OK"], [b"a" * 32]), (["CONFLICTING"], [])], place
        seen.update(codes)
    assert seen == {"OK", "CONFLICTING"}


@pytest.mark.parametrize("value", [True, False])
def test_of_opposite_calls_the_last_one_to_reach_the_master_ends_on_every_record(
    run: Run, store: Store, generate: Generator, value: bool
) -> None:
    """The other one comes before any of this one's steps."""
    for place in places(store, Family(run, generate).child, value)[:-1]:
        family = Family(run, generate)
        between = Between(store, place, lambda family=family: mark(store, family.child, value=not value))  # type: ignore[misc]
        assert mark(between, family.child, value=value).codes == ["OK"]
        assert marks(store, family.child) == [value if place < 2 else not value] * 3, place


@pytest.mark.parametrize("value", [True, False])
def test_one_that_died_in_the_middle_is_completed_by_one_that_was_under_way(
    run: Run, store: Store, generate: Generator, value: bool
) -> None:
    """Up to its last look at the master."""
    last_look = 4
    own = places(store, Family(run, generate).child, value)
    for place in own[: last_look + 1]:
        for death in own:
            family = Family(run, generate)
            between = Between(store, place, lambda family=family, death=death: begin(store, family, not value, death))  # type: ignore[misc]
            assert mark(between, family.child, value=value).codes == ["OK"]
            found = marks(store, family.child)
            assert found == found[:1] * 3, (place, death)


def begin(store: Store, family: Family, value: bool, death: int) -> None:
    """Marks, and dies before this batch."""
    with contextlib.suppress(Dies):
        mark(Between(store, death, dies), family.child, value=value)


@pytest.mark.parametrize("value", [True, False])
def test_one_that_died_is_completed_by_asking_again(run: Run, store: Store, generate: Generator, value: bool) -> None:
    for death in places(store, Family(run, generate).child, value):
        family = Family(run, generate)
        if not value:
            execute_follow_ups(run, mark(store, family.child))
        family.spend(4, b"a" * 32)
        begin(store, family, value, death)
        dispatched = mark(store, family.child, value=value)
        ((affected, _),) = dispatched.results
        execute_follow_ups(run, dispatched)
        assert affected == family.outpoints
        assert marks(store, family.child) == [value] * 3
        assert delete_at_heights(store, family.child) == {HEIGHT + RETENTION if value else None}
        assert bins_of(store, family.parent.txid)["conflictingCs"] == [family.child.txid]


# ---- faults


KINDS = {"fail": "STORE_ERROR", "none": "INTERNAL", "malform": "INTERNAL", "drop": "INTERNAL"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_of_one_record_at_any_step_is_of_its_transaction_alone(
    run: Run, store: Store, generate: Generator, kind: str
) -> None:
    counting = FaultAt(store, -1, {"kind": kind})
    mark(counting, *(Family(run, generate).child for _ in range(2)))
    for place, operations in enumerate(counting.operations):
        for index in range(len(operations)):
            families = [Family(run, generate) for _ in range(2)]
            faulty = FaultAt(store, place, {"kind": kind, "index": index})
            outcomes = mark(faulty, *(family.child for family in families)).outcomes
            key = faulty.operations[place][index].key[:32]
            hit = next(n for n, each in enumerate(families) if key in (each.child.txid, each.parent.txid))
            executed = "no" if place < 2 and kind == "fail" else "unknown"
            assert (outcomes[hit].code, outcomes[hit].executed) == (KINDS[kind], executed), (place, index)
            assert outcomes[1 - hit].code == "OK", (place, index)


@pytest.mark.parametrize("kind", ["raise_before", "raise_after"])
def test_a_batch_that_the_store_fails_is_unknown_once_a_master_may_be_marked(
    run: Run, store: Store, generate: Generator, kind: str
) -> None:
    family = Family(run, generate)
    for place in places(store, family.child, True)[:-1]:
        (outcome,) = mark(FaultAt(store, place, {"kind": kind}), family.child).outcomes
        executed = "no" if place < 2 and kind == "raise_before" else "unknown"
        assert (outcome.code, outcome.executed) == ("STORE_ERROR", executed), place


@pytest.mark.parametrize("value", [True, False])
def test_a_child_record_that_is_missing_is_a_fault(store: Store, family: Family, value: bool) -> None:
    store.batch_operate([Remove(child_key(family.child.txid, 2))], 30.0)
    (outcome,) = mark(store, family.child, value=value).outcomes
    assert outcome.error is not None
    assert (outcome.code, outcome.executed) == ("STORE_ERROR", "unknown")
    assert outcome.error.message == "child record 2 is missing"


def test_a_parent_whose_child_record_is_missing_is_a_fault(store: Store, family: Family) -> None:
    store.batch_operate([Remove(child_key(family.parent.txid, 2))], 30.0)
    (outcome,) = mark(store, family.child).outcomes
    assert (outcome.code, outcome.executed) == ("STORE_ERROR", "unknown")


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_without_its_blob_nothing_is_marked(store: Store, tmp_path: Path, family: Family, damage: str) -> None:
    """Nobody could say what it spends."""
    if damage == "missing":
        store.blobs.delete(family.child.txid)
    else:
        (path,) = [path for path in tmp_path.rglob("*.blob") if path.read_bytes().find(family.child.raw) >= 0]
        path.write_bytes(path.read_bytes()[:-20] + bytes(20))
    before = records_of(store, family.child)
    (outcome,) = mark(store, family.child).outcomes
    assert (outcome.code, outcome.executed) == ("STORE_ERROR", "no")
    assert records_of(store, family.child) == before


def test_what_is_still_being_created_is_not_marked(store: Store, family: Family) -> None:
    """Whoever finishes it would make records that are not marked."""
    store.batch_operate([Write(family.child.txid, {"creating": True}, Mode.UPDATE)], 30.0)
    before = records_of(store, family.child)
    (outcome,) = mark(store, family.child).outcomes
    assert (outcome.code, outcome.executed) == ("CREATING", "no")
    assert records_of(store, family.child) == before


def test_outputs_that_can_not_be_read_are_a_fault(store: Store, family: Family) -> None:
    """Of its own, and of a parent's."""
    for transaction, child in ((family.child, 1), (family.parent, 2)):
        key = child_key(transaction.txid, child)
        sound = bins_of(store, key)["utxos"]
        store.batch_operate([Write(key, {"utxos": None}, Mode.UPDATE)], 30.0)
        (outcome,) = mark(store, family.child).outcomes
        assert (outcome.code, outcome.executed) == ("INTERNAL", "unknown")
        store.batch_operate([Write(key, {"utxos": sound}, Mode.UPDATE)], 30.0)
    assert mark(store, family.child).codes == ["OK"]
