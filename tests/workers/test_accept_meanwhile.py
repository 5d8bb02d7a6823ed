"""What has changed between two steps of an accept, or before it: another attempt has come first, a record is gone, the
transaction was pruned, or is being abandoned."""

from collections.abc import Sequence
from typing import Any

import pytest

from protocol.item_flags import ACCEPT_CONFLICTING
from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Write
from store.layout import ABANDONED, child_key, lock_key
from tests.support.abandoning import check_abandoned, mark_abandoned
from tests.support.accepting import is_there, item, payment, spender_of
from tests.support.dispatching import Outcome, Run, bins_of, create, dispatch, execute_follow_ups, matured
from tests.support.wrapped import Meanwhile, Wrapped, writes
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


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
    store.batch_operate([Write(left, {"utxos": [b"x" * 32]}, Mode.CREATE)], 30.0)
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
    store.batch_operate([Write(parent.txid, mark, Mode.UPDATE)], 30.0)
    assert not run("accept", [item(child)]).results[0]["created"]  # it is there: no refusal
    store.batch_operate([Remove(child.txid)], 30.0)
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
    store.batch_operate([Remove(parent.txid), Remove(child_key(parent.txid, 1))], 30.0)
    assert run("accept", [item(child)]).results == [first | {"created": False}]


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_one_that_was_found_is_never_created_anew(run: Run, store: Any, generate: Generator, outputs: int) -> None:
    """It goes while what is left of it is being completed: a pruning, say."""
    parent = matured(run, generate, [1])
    child = payment(generate, (parent, 0), outputs=outputs)
    assert run("accept", [item(child)]).results[0]["created"]
    store.batch_operate([Write(child.txid, {"creating": True}, Mode.UPDATE)], 30.0)
    keys = [child.txid, *(child_key(child.txid, number) for number in (1, 2))]
    lock = lock_key(child.txid)
    meanwhile = Meanwhile(store, writes(lock), lambda: store.batch_operate([Remove(key) for key in keys], 30.0))
    (outcome,) = dispatch(meanwhile, "accept", [item(child)]).outcomes
    assert (outcome.code, outcome.executed) == ("TX_NOT_FOUND", "no")
    assert not is_there(store, child.txid)
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
    store.batch_operate([Write(parent.txid, {"conflictingCs": None}, Mode.UPDATE)], 30.0)
    assert run("accept", [item(child, flags=ACCEPT_CONFLICTING)]).results[0]["conflicting"]
    assert bins_of(store, parent.txid)["conflictingCs"] == [child.txid]


# ---- abandoned


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
        (lock,) = separate.batch_operate([Read(lock_key(child.txid))], 30.0)
        assert lock.status is Status.NOT_FOUND
    separate.batch_operate([Remove(child.txid)], 30.0)
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
    results = separate.batch_operate([Read(key) for key in keys], 30.0)
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
