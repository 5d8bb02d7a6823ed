"""Whatever an accept meets, at whichever of its store calls: what it answers is true, and asking again completes it. In
a store whose batches are one whole, and in one that takes record by record."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from protocol.item_flags import ACCEPT_CONFLICTING
from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Store, StoreError, Write
from store.faulty import FaultyStore
from store.layout import ABANDONED, child_key, lock_key
from store.transaction import Transaction
from tests.support.accepting import has_record, is_there, item, payment, spender_of, spent_by
from tests.support.dispatching import (
    Dispatched,
    Outcome,
    Run,
    Wrapped,
    bins_of,
    create,
    dispatch,
    execute_follow_ups,
    matured,
    records_of,
)
from utxod.generate import Generator


class Whole(Wrapped):
    """A store whose batches are one whole."""


class RecordByRecord(Wrapped):
    """A store that takes record by record, each call of a rule and each write by itself."""

    is_atomic = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        return [self._inner.batch_operate([operation], budget)[0] for operation in record_operations]


@pytest.fixture(params=[Whole, RecordByRecord], ids=["as one whole", "record by record"])
def store(store: Store, request: pytest.FixtureRequest) -> Any:
    if request.param is Whole and not store.is_atomic:
        pytest.skip("this store takes record by record")
    return request.param(store)


@pytest.fixture(params=[True, False], ids=["extended", "standard"])
def is_extended(request: pytest.FixtureRequest) -> Any:
    return request.param


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
    store.batch_operate([Remove(lock_key(each.txid)) for each in scene.accepts], 5.0)


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


class Meanwhile(Wrapped):
    """Something else happens before a call that is recognised."""

    def __init__(self, inner: Any, recognises: Any, happens: Any) -> None:
        super().__init__(inner)
        self._recognises = recognises
        self._happens = happens
        self.happened = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if not self.happened and any(map(self._recognises, record_operations)):
            self.happened = True
            self._happens()
        return self._inner.batch_operate(record_operations, budget)


def writes(key: bytes) -> Any:
    return lambda operation: isinstance(operation, Write) and operation.key == key


def spends_from(key: bytes) -> Any:
    return lambda operation: isinstance(operation, RuleCall) and operation.key == key


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_where_another_attempt_has_created_it_meanwhile_that_is_success_and_gives_nothing_back(
    run: Run, store: Any, generate: Generator, outputs: int
) -> None:
    parent, other = matured(run, generate, [1, 2]), matured(run, generate, [3])
    child = payment(generate, (parent, 0), (other, 0), outputs=outputs)
    recognises = (
        spends_from(parent.txid) if store.is_atomic else writes(child.txid if outputs == 2 else lock_key(child.txid))
    )
    meanwhile = Meanwhile(store, recognises, lambda: run("accept", [item(child)]).results)
    (result,) = dispatch(meanwhile, "accept", [item(child, mined=[(7, 201, 0)])]).results
    assert meanwhile.happened
    assert not result["created"]
    assert spender_of(store, (parent, 0)) == spender_of(store, (other, 0)) == child.txid
    assert bins_of(store, child.txid)["blockIDs"] == [7]


def test_a_refused_attempt_takes_nothing_from_one_that_still_works(run: Run, store: Any, generate: Generator) -> None:
    """Asked at a height that is too low, while another attempt has spent, and has not created yet."""
    parent, young = matured(run, generate, [1, 2]), generate.coinbase([3])
    create(run, young, height=100)
    child = payment(generate, (parent, 0), (young, 0))
    refused: list[Outcome] = []

    def ask_too_early() -> None:
        refused.extend(run("accept", [item(child, height=199)]).outcomes)

    meanwhile = Meanwhile(store, writes(child.txid), ask_too_early)
    assert dispatch(meanwhile, "accept", [item(child, height=200)]).results[0]["created"]
    assert [outcome.code for outcome in refused] == ["COINBASE_IMMATURE"]
    if not store.is_atomic:
        assert refused[0].error is not None
        assert sorted(refused[0].error.details["held"]) == sorted([[parent.txid, 0], [young.txid, 0]])
    assert spender_of(store, (parent, 0)) == spender_of(store, (young, 0)) == child.txid


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_a_creation_that_is_refused_for_good_gives_its_spends_back(
    run: Run, store: Any, generate: Generator, outputs: int
) -> None:
    parent = matured(run, generate, [1, 2, 3])
    child = payment(generate, (parent, 0), (parent, 2), outputs=5)
    left = child_key(child.txid, 1)
    store.batch_operate([Write(left, {"utxos": [b"x" * 32]}, Mode.CREATE)], 5.0)
    dispatched = run("accept", [item(child)])
    (outcome,) = dispatched.outcomes
    assert (outcome.code, outcome.executed) == ("LEFTOVER", "no")
    assert outcome.error is not None
    assert outcome.error.details["keys"] == [left]
    assert [spender_of(store, (parent, vout)) for vout in (0, 2)] == [None, None]
    execute_follow_ups(run, dispatched)
    assert bins_of(store, parent.txid)["spentExtraRecs"] == 0


def test_a_pruned_spender_is_refused(run: Run, store: Any, generate: Generator, is_extended: bool) -> None:
    parent, free = matured(run, generate, [1, 2]), matured(run, generate, [3])
    child = payment(generate, (parent, 0), (free, 0), is_extended=is_extended)
    assert run("accept", [item(child)]).results[0]["created"]
    mark = {"deletedChildren": {child.txid[::-1].hex(): True}}
    store.batch_operate([Write(parent.txid, mark, Mode.UPDATE)], 5.0)
    assert not run("accept", [item(child)]).results[0]["created"]  # it is there: no refusal
    store.batch_operate([Remove(child.txid)], 5.0)
    (outcome,) = run("accept", [item(child)]).outcomes
    assert (outcome.code, outcome.executed) == ("INVALID_SPEND", "no")
    assert outcome.error is not None
    assert (outcome.error.details["vin"], outcome.error.details["outpoint"]) == (0, [parent.txid, 0])
    assert not is_there(store, child.txid)


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_a_parent_that_is_gone_is_no_refusal_of_one_that_is_there(
    run: Run, store: Any, generate: Generator, is_extended: bool, outputs: int
) -> None:
    parent = matured(run, generate, [1, 2, 3])
    child = payment(generate, (parent, 0), (parent, 2), outputs=outputs, is_extended=is_extended)
    (first,) = run("accept", [item(child)]).results
    store.batch_operate([Remove(parent.txid), Remove(child_key(parent.txid, 1))], 5.0)
    assert run("accept", [item(child)]).results == [first | {"created": False}]


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_one_that_was_found_is_never_created_anew(run: Run, store: Any, generate: Generator, outputs: int) -> None:
    """It goes while what is left of it is being completed: a pruning, say."""
    parent = matured(run, generate, [1])
    child = payment(generate, (parent, 0), outputs=outputs)
    assert run("accept", [item(child)]).results[0]["created"]
    store.batch_operate([Write(child.txid, {"creating": True}, Mode.UPDATE)], 5.0)
    keys = [child.txid, *(child_key(child.txid, number) for number in (1, 2))]
    lock = lock_key(child.txid)
    meanwhile = Meanwhile(store, writes(lock), lambda: store.batch_operate([Remove(key) for key in keys], 5.0))
    for operation, own in (("accept", item(child)), ("create", [child.raw, 200, [], 0, None])):
        (outcome,) = dispatch(meanwhile, operation, [own]).outcomes
        assert (outcome.code, outcome.executed) == ("TX_NOT_FOUND", "no")
        assert not is_there(store, child.txid)
        break
    assert meanwhile.happened


def test_a_lost_blob_is_brought_back(run: Run, store: Any, generate: Generator, is_extended: bool) -> None:
    parent = matured(run, generate, [1])
    child = payment(generate, (parent, 0), outputs=5, is_extended=is_extended)
    assert run("accept", [item(child)]).results
    store.blobs.delete(child.txid)
    assert not run("accept", [item(child)]).results[0]["created"]
    assert store.blobs.get(child.txid) == child.in_standard_format().raw


def test_notes_of_a_conflicting_one_that_were_lost_are_made(run: Run, store: Any, generate: Generator) -> None:
    parent = matured(run, generate, [1])
    child = payment(generate, (parent, 0))
    assert run("accept", [item(child, flags=ACCEPT_CONFLICTING)]).results[0]["created"]
    store.batch_operate([Write(parent.txid, {"conflictingCs": None}, Mode.UPDATE)], 5.0)
    assert run("accept", [item(child, flags=ACCEPT_CONFLICTING)]).results[0]["conflicting"]
    assert bins_of(store, parent.txid)["conflictingCs"] == [child.txid]


# ---- abandoned


@pytest.fixture
def separate(store: Any) -> Any:
    """Only where records are taken one by one does the mark of one that is being abandoned stand by itself."""
    if store.is_atomic:
        pytest.skip("an abandon leaves no mark in a store whose batches are one whole")
    return store


def mark_abandoned(store: Store, txid: bytes) -> None:
    (result,) = store.batch_operate([Write(txid, {ABANDONED: True}, Mode.CREATE, ttl=600)], 5.0)
    assert result.status is Status.OK


def check_abandoned(outcome: Outcome) -> None:
    assert (outcome.code, outcome.executed) == ("ABANDONED", "no")
    assert outcome.error is not None
    assert outcome.error.retry_after == 1000


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_one_that_is_being_abandoned_is_refused_and_spends_nothing(
    run: Run, separate: Any, generate: Generator, outputs: int, is_extended: bool
) -> None:
    parent = matured(run, generate, [1, 2])
    child = payment(generate, (parent, 0), outputs=outputs, is_extended=is_extended)
    mark_abandoned(separate, child.txid)
    for operation, own in (("accept", item(child)), ("create", [child.raw, 200, [], 0, None])):
        (outcome,) = run(operation, [own]).outcomes
        check_abandoned(outcome)
        assert bins_of(separate, child.txid) == {ABANDONED: True}
        assert spender_of(separate, (parent, 0)) is None
        (lock,) = separate.batch_operate([Read(lock_key(child.txid))], 5.0)
        assert lock.status is Status.NOT_FOUND
    separate.batch_operate([Remove(child.txid)], 5.0)
    assert run("accept", [item(child)]).results[0]["created"]


@pytest.mark.parametrize("moment", ["before the lock", "before its master"])
@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_one_that_is_abandoned_between_its_spends_and_its_creation_gives_them_back(
    run: Run, separate: Any, generate: Generator, outputs: int, moment: str
) -> None:
    parent = matured(run, generate, [1, 2, 3])
    child = payment(generate, (parent, 0), (parent, 2), outputs=outputs)
    key = child.txid if outputs == 2 or moment == "before its master" else lock_key(child.txid)
    meanwhile = Meanwhile(separate, writes(key), lambda: mark_abandoned(separate, child.txid))
    dispatched = dispatch(meanwhile, "accept", [item(child)])
    assert meanwhile.happened
    check_abandoned(dispatched.outcomes[0])
    assert [spender_of(separate, (parent, vout)) for vout in (0, 2)] == [None, None]
    keys = [lock_key(child.txid), *(child_key(child.txid, number) for number in (1, 2))]
    results = separate.batch_operate([Read(key) for key in keys], 5.0)
    assert {result.status for result in results} == {Status.NOT_FOUND}


def test_an_end_of_the_mark_between_leaves_a_creation_refused_and_not_unseen(
    run: Run, separate: Any, generate: Generator
) -> None:
    """The mark refused the creation, and is gone when it is looked at: no word of the transaction's being there."""
    parent = matured(run, generate, [1])
    child = payment(generate, (parent, 0))

    class Ends(Wrapped):
        is_atomic = False

        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            if any(map(writes(child.txid), record_operations)):
                mark_abandoned(self._inner, child.txid)
                try:
                    return self._inner.batch_operate(record_operations, budget)
                finally:
                    self._inner.batch_operate([Remove(child.txid)], budget)
            return self._inner.batch_operate(record_operations, budget)

    for operation, own in (("accept", item(child)), ("create", [child.raw, 200, [], 0, None])):
        (outcome,) = dispatch(Ends(separate), operation, [own]).outcomes
        assert (outcome.code, outcome.executed) == ("TX_NOT_FOUND", "no")
        assert spender_of(separate, (parent, 0)) is None


# ---- time


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
    dispatched: Dispatched = dispatch(FaultyStore(store, [{"kind": "time_out"}]), "accept", scene.items, budget=0.05)
    assert dispatched.batch.timed_out
    assert set(dispatched.codes) == {"STORE_ERROR"}
    complete(run, store, scene)
