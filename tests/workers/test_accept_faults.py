"""Whatever an accept meets, at whichever of its store calls: what it answers is true, and asking again completes it. In
a store whose batches are one whole, and in one that takes record by record."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from store import RecordOperation, Remove, Result, Store, StoreError
from store.faulty import FaultyStore
from store.layout import lock_key
from store.transaction import Transaction
from tests.support.accepting import has_record, is_there, item, payment, spender_of, spent_by
from tests.support.dispatching import Dispatched, Outcome, Run, dispatch, execute_follow_ups, matured, records_of
from tests.support.wrapped import Silent, Wrapped
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


class Died(BaseException):
    """The worker's process is gone."""


class Dying(Wrapped):
    """The process dies after so many records, or calls where a batch is one whole: before the next one, or in the
    middle of it where that is done already."""

    def __init__(self, inner: Any, after: int) -> None:
        super().__init__(inner)
        self._left = after

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        steps = [record_operations] if self._inner.is_atomic else [[operation] for operation in record_operations]
        results = []
        for step in steps:
            if self._left == 0:
                raise Died
            self._left -= 1
            results += self._inner.batch_operate(step, budget)
            if self._left == 0:
                raise Died
        return results


class Scene(NamedTuple):
    """A batch of accepts, parents not first, all of which are well; and what is known beside."""

    accepts: list[Transaction]
    parents: list[Transaction]

    @property
    def known(self) -> list[Transaction]:
        return [*self.accepts, *self.parents]

    @property
    def items(self) -> list[Any]:
        return [item(each) for each in self.accepts]


def scene_of(run: Run, generate: Generator, *, is_extended: bool) -> Scene:
    """A coin in a child record, a transaction of several records, one that spends from it, a coinbase, and another."""
    coinbases = [matured(run, generate, [10, 20, 30]), matured(run, generate, [40])]
    large = payment(generate, (coinbases[0], 2), (coinbases[1], 0), outputs=5, is_extended=is_extended)
    last = payment(generate, (large, 4), (coinbases[0], 0), is_extended=is_extended)
    alone = payment(generate, (coinbases[0], 1), is_extended=is_extended)
    return Scene([last, large, alone, generate.coinbase([1, 2, 3])], coinbases)


def named_spenders(store: Store, known: Sequence[Transaction]) -> dict[tuple[bytes, int], bytes]:
    """Who has which output, of those transactions that are there."""
    return {
        (each.txid, vout): spender
        for each in known
        if has_record(store, each.txid)
        for vout in range(len(each.outputs))
        if (spender := spender_of(store, (each, vout))) is not None
    }


def told(outcomes: Sequence[Outcome]) -> set[tuple[bytes, int]]:
    """The outpoints that answers name as perhaps spent."""
    return {
        (txid, vout)
        for outcome in outcomes
        if outcome.error is not None
        for listed in ("outpoints", "held", "unseen")
        for txid, vout in outcome.error.details.get(listed, [])
    }


def check_answers(store: Store, scene: Scene, outcomes: Sequence[Outcome]) -> None:
    """Each answer is true of the set."""
    spenders = named_spenders(store, scene.known)
    for transaction, outcome in zip(scene.accepts, outcomes, strict=True):
        there = is_there(store, transaction.txid)
        if outcome.code == "OK":
            assert there
        if outcome.executed == "no":
            assert not there
        if there and not transaction.is_coinbase:
            for source, vout in spent_by(transaction, scene.known):
                assert spenders[source.txid, vout] == transaction.txid
    ghosts = {outpoint for outpoint, spender in spenders.items() if not has_record(store, spender)}
    assert ghosts <= told(outcomes), outcomes


def expire_locks(store: Store, scene: Scene) -> None:
    store.batch_operate([Remove(lock_key(each.txid)) for each in scene.accepts], 30.0)


def check_complete(store: Store, scene: Scene) -> None:
    """All is accepted, and no coin, record or counter is other than if nothing had happened."""
    for transaction in scene.accepts:
        for bins in records_of(store, transaction):
            assert "creating" not in bins
            assert None not in bins["utxos"]
        if not transaction.is_coinbase:
            for coin in spent_by(transaction, scene.known):
                assert spender_of(store, coin) == transaction.txid
    assert set(named_spenders(store, scene.known).values()) <= {each.txid for each in scene.accepts}
    for transaction in scene.known:
        master, *children = records_of(store, transaction)
        assert master["spentExtraRecs"] == sum(bins["spentUtxos"] == bins["recordUtxos"] for bins in children)


def complete(run: Run, store: Store, scene: Scene) -> None:
    """Asked again, by somebody who outlives the locks."""
    expire_locks(store, scene)
    dispatched = run("accept", scene.items)
    assert dispatched.codes == ["OK"] * len(scene.accepts), dispatched.outcomes
    execute_follow_ups(run, dispatched)
    check_complete(store, scene)


@pytest.mark.parametrize("between", [True, False], ids=["asked at once", "asked when its locks are gone"])
def test_a_worker_may_die_at_each_step_and_asking_again_completes_it(
    run: Run, store: Any, generate: Generator, is_extended: bool, between: bool
) -> None:
    """What the first one owed is lost with it."""
    for steps in itertools.count():
        scene = scene_of(run, generate, is_extended=is_extended)
        try:
            dispatch(Dying(store, steps), "accept", scene.items)
        except Died:
            pass
        else:
            break
        if between:
            outcomes = run("accept", scene.items).outcomes
            check_answers(store, scene, outcomes)
            assert {outcome.code for outcome in outcomes} <= {"OK", "CREATING", "TX_NOT_FOUND"}
        complete(run, store, scene)
    assert steps >= 3


class AtCall(Wrapped):
    """A fault at one of the calls."""

    def __init__(self, inner: Any, call: int, fault: dict[str, Any]) -> None:
        super().__init__(inner)
        self._left = call
        self._faulty = FaultyStore(inner, [dict(fault)])
        self.hit = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        self._left -= 1
        if self._left == -1:
            self.hit = True
            return self._faulty.batch_operate(record_operations, budget)
        return self._inner.batch_operate(record_operations, budget)


FAULTS = [{"kind": kind} for kind in ("raise_before", "raise_after")] + [
    {"kind": kind, "index": index} for kind in ("fail", "none", "drop", "malform") for index in range(6)
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: " ".join(map(str, fault.values())))
def test_whatever_fails_at_any_call_each_answer_is_true_and_asking_again_completes_it(
    run: Run, store: Any, generate: Generator, is_extended: bool, fault: dict[str, Any]
) -> None:
    for call in itertools.count():
        scene = scene_of(run, generate, is_extended=is_extended)
        at_call = AtCall(store, call, fault)
        dispatched = dispatch(at_call, "accept", scene.items)
        if not at_call.hit:
            assert dispatched.codes == ["OK"] * len(scene.accepts)
            break
        check_answers(store, scene, dispatched.outcomes)
        complete(run, store, scene)
    assert call >= 2


HIT = 2  # the transaction that a fault hits, of five

# A fault of the call in which the spends are, or the creations; what it then is of all, or (`index`) of one.
TABLE = [
    ({"kind": "raise_before"}, "STORE_ERROR", "no"),
    ({"kind": "raise_after"}, "STORE_ERROR", "unknown"),
    ({"kind": "fail", "index": HIT}, "STORE_ERROR", "no"),
    ({"kind": "none", "index": HIT}, "INTERNAL", "unknown"),
    ({"kind": "drop", "index": HIT}, "INTERNAL", "unknown"),
    ({"kind": "malform", "index": HIT}, "INTERNAL", "unknown"),
]


@pytest.mark.parametrize("what", ["spends", "creations"])
@pytest.mark.parametrize(("fault", "code", "executed"), TABLE, ids=[fault["kind"] for fault, _, _ in TABLE])
def test_a_fault_of_the_spends_or_creations_has_its_code_and_names_the_coins_in_doubt(
    run: Run, store: Any, generate: Generator, what: str, fault: dict[str, Any], code: str, executed: str
) -> None:
    parents = [matured(run, generate, [1]) for _ in range(5)]
    scene = Scene([payment(generate, (parent, 0)) for parent in parents], parents)
    call = 1 if what == "spends" or store.is_atomic else 2
    if store.is_atomic and "index" in fault:  # a spend, and then a creation
        fault = fault | {"index": 2 * HIT + (what == "creations")}
    outcomes = dispatch(AtCall(store, call, fault), "accept", scene.items).outcomes
    for index, outcome in enumerate(outcomes):
        if index == HIT or "index" not in fault:
            assert (outcome.code, outcome.executed) == (code, executed)
            coin = [parents[index].txid, 0]
            assert outcome.error is not None
            assert outcome.error.details.get("outpoints") == ([coin] if executed == "unknown" else None)
        else:
            assert outcome.code == "OK"
    check_answers(store, scene, outcomes)
    complete(run, store, scene)


def rivals_of(run: Run, generate: Generator, *, is_extended: bool) -> Scene:
    """Two of one coin, each with another coin of its own, and one that spends from the first."""
    coinbases = [matured(run, generate, [10, 20, 30]), matured(run, generate, [40])]
    one = payment(generate, (coinbases[0], 0), (coinbases[0], 2), outputs=3, is_extended=is_extended)
    other = payment(generate, (coinbases[1], 0), (coinbases[0], 2), is_extended=is_extended)
    return Scene([payment(generate, (one, 2), is_extended=is_extended), one, other], coinbases)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: " ".join(map(str, fault.values())))
def test_of_rivals_at_most_one_wins_whatever_fails_and_no_coin_is_taken_that_no_answer_names(
    run: Run, store: Any, generate: Generator, is_extended: bool, fault: dict[str, Any]
) -> None:
    for call in itertools.count():
        scene = rivals_of(run, generate, is_extended=is_extended)
        at_call = AtCall(store, call, fault)
        outcomes = dispatch(at_call, "accept", scene.items).outcomes
        check_answers(store, scene, outcomes)
        if not at_call.hit:
            break
        expire_locks(store, scene)
        outcomes = run("accept", scene.items).outcomes
        check_answers(store, scene, outcomes)
        assert sum(outcome.code == "OK" for outcome in outcomes[1:]) == 1
    assert call >= 2


class OutOfTime(Wrapped):
    """After so many calls the time is up."""

    is_atomic = False

    def __init__(self, inner: Any, calls: int) -> None:
        super().__init__(inner)
        self._left = calls

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if self._left == 0:
            raise StoreError("the time is up", in_doubt=False)
        self._left -= 1
        return self._inner.batch_operate(record_operations, budget)


def test_of_a_chain_that_is_too_deep_for_its_time_what_was_not_begun_was_not_executed(
    run: Run, separate: Any, generate: Generator
) -> None:
    coinbase = matured(run, generate, [100])
    chain = [payment(generate, (coinbase, 0))]
    while len(chain) < 8:
        chain.append(payment(generate, (chain[-1], 0)))
    scene = Scene(chain, [coinbase])
    out_of_time = OutOfTime(separate, 8)
    dispatched = dispatch(out_of_time, "accept", scene.items)
    check_answers(separate, scene, dispatched.outcomes)
    assert dispatched.codes[0] == "OK"
    assert (dispatched.outcomes[-1].code, dispatched.outcomes[-1].executed) == ("STORE_ERROR", "no")
    complete(run, separate, scene)


def test_a_store_that_gives_no_answer_is_told_of(run: Run, store: Any, generate: Generator) -> None:
    scene = scene_of(run, generate, is_extended=True)
    dispatched: Dispatched = dispatch(Silent(store), "accept", scene.items)
    assert dispatched.batch.timed_out
    assert set(dispatched.codes) == {"STORE_ERROR"}
    complete(run, store, scene)
