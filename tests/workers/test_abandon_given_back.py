"""abandon: all that a transaction holds which never came to be is given back, and nothing of one that did."""

from collections.abc import Sequence
from typing import Any

import pytest

from protocol.item_flags import CREATE_CONFLICTING, CREATE_LOCKED, MINED_ON_LONGEST_CHAIN, MINED_UNSET
from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Store, Write
from store.layout import child_key
from tests.support.abandoning import Payment, told
from tests.support.dispatching import HEIGHT, Run, bins_of, dispatch, execute_follow_ups, matured, output_of
from tests.support.wrapped import Wrapped
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


def test_all_that_it_holds_is_given_back_once(run: Run, generate: Generator, payment: Payment) -> None:
    assert payment.abandon().results == [[True, True, True]]
    assert payment.holds() == [False] * 3
    assert payment.abandon().results == [[False, False, False]]
    rivals = [[*generate.spend(coin)] for coin in payment.coins]
    assert run("spend", rivals).results == [True] * 3


def test_what_another_holds_or_nobody_is_not_given_back(
    run: Run, store: Store, generate: Generator, payment: Payment
) -> None:
    """Nor what is frozen, what is no UTXO, and what is not in the set at all."""
    free, taken, frozen = (matured(run, generate, [1, 2]) for _ in range(3))
    rival = [*generate.spend((taken, 0))]
    assert run("spend", [rival]).results == [True]
    assert run("freeze", [output_of(frozen, 0)]).results
    script = b"\x00\x6a"
    partial = [None, HEIGHT, [], 0, [bytes(32), {0: [0, script]}]]
    assert run("create", [partial]).results
    strangers = [[free.txid, 0], [taken.txid, 0], [frozen.txid, 0], [bytes(32), 0], [b"\x11" * 32, 3], [free.txid, 9]]
    outpoints = [strangers[0], payment.outpoints[1], *strangers[1:]]
    assert run("abandon", [[payment.txid, outpoints, HEIGHT]]).results == [[False, True, *[False] * 5]]
    assert payment.holds() == [True, False, True]
    assert bins_of(store, taken.txid)["utxos"][0][32:64] == rival[3]


def test_the_mark_of_a_frozen_output_is_no_spender(run: Run, generate: Generator) -> None:
    frozen = matured(run, generate, [1])
    assert run("freeze", [output_of(frozen, 0)]).results
    assert run("abandon", [[b"\xff" * 32, [[frozen.txid, 0]], HEIGHT]]).results == [[False]]


def test_a_transaction_that_is_in_the_set_keeps_its_inputs(store: Store, payment: Payment) -> None:
    payment.create()
    before = bins_of(store, payment.txid)
    assert [told(outcome) for outcome in payment.abandon().outcomes] == [("SPENDER_EXISTS", "no")]
    assert payment.holds() == [True] * 3
    assert bins_of(store, payment.txid) == before


def test_a_transaction_that_is_being_created_keeps_its_inputs(store: Store, payment: Payment) -> None:
    payment.create()
    store.batch_operate([Write(payment.txid, {"creating": True}, Mode.UPDATE)], 30.0)
    assert payment.abandon().codes == ["SPENDER_EXISTS"]
    assert payment.holds() == [True] * 3


@pytest.mark.parametrize("flags", [CREATE_CONFLICTING, CREATE_CONFLICTING | CREATE_LOCKED])
def test_a_conflicting_transaction_gives_back_and_stays_as_it_was(store: Store, payment: Payment, flags: int) -> None:
    """Above all its locks: whoever locks it meanwhile is not undone."""
    payment.create(flags)
    before = bins_of(store, payment.txid)
    assert payment.abandon().results == [[True, True, True]]
    assert bins_of(store, payment.txid) == before


def test_what_is_mined_on_the_longest_chain_keeps_its_inputs_though_it_is_conflicting(
    run: Run, payment: Payment
) -> None:
    """A contradiction that nobody resolves by taking its inputs away."""
    payment.create(CREATE_CONFLICTING)
    assert run("set_mined", [[payment.txid, 7, HEIGHT, 0, HEIGHT, MINED_ON_LONGEST_CHAIN]]).results == [[7]]
    assert [told(outcome) for outcome in payment.abandon().outcomes] == [("SPENDER_MINED", "no")]
    assert payment.holds() == [True] * 3
    assert run("set_mined", [[payment.txid, 7, HEIGHT, 0, HEIGHT, MINED_UNSET]]).results == [[]]
    assert payment.abandon().results == [[True] * 3]


def test_a_transaction_that_was_pruned_keeps_its_inputs(run: Run, store: Store, payment: Payment) -> None:
    """Whatever of it is asked for: one mark says that it was there."""
    marked = payment.coins[2][0].txid
    store.batch_operate([RuleCall(marked, "addDeletedChildren", ([[0, payment.txid]],))], 30.0)
    assert [told(outcome) for outcome in payment.abandon().outcomes] == [("INVALID_SPEND", "no")]
    assert payment.holds() == [True] * 3
    assert run("get", [[payment.txid, None]]).codes == ["TX_NOT_FOUND"]


def test_a_missing_child_record_is_a_fault_and_nothing_is_given_back(run: Run, store: Store, payment: Payment) -> None:
    store.batch_operate([Remove(child_key(payment.coins[1][0].txid, 1))], 30.0)
    assert [told(outcome) for outcome in payment.abandon().outcomes] == [("STORE_ERROR", "no")]
    assert bins_of(store, payment.coins[0][0].txid)["utxos"][0][32:64] == payment.txid
    assert run("get", [[payment.txid, None]]).codes == ["TX_NOT_FOUND"]


@pytest.mark.parametrize("value", [{"utxos": "none"}, {"deletedChildren": [1]}, {"utxos": None}])
def test_a_record_that_can_not_be_read_is_a_fault(
    store: Store, generate: Generator, payment: Payment, value: dict[str, Any]
) -> None:
    class Damaged(Wrapped):
        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            results = self._inner.batch_operate(record_operations, budget)
            if isinstance(record_operations[0], Read) and "utxos" in (record_operations[0].bins or ()):
                results[0] = Result(Status.OK, {**results[0].value, **value}, key=record_operations[0].key)
            return list(results)

    (outcome,) = dispatch(Damaged(store), "abandon", [payment.item]).outcomes
    assert told(outcome) == ("INTERNAL", "unknown")
    assert payment.holds() == [True] * 3


def test_items_of_one_spender_and_an_outpoint_twice_are_each_answered_for_themselves(
    run: Run, payment: Payment
) -> None:
    first, second, third = payment.outpoints
    items = [[payment.txid, [first, second, first], HEIGHT], [payment.txid, [second, third], HEIGHT]]
    assert run("abandon", items).results == [[True, True, False], [False, True]]


def test_a_bad_fate_of_one_item_is_not_the_others(run: Run, store: Store, generate: Generator) -> None:
    lost, there, good = (Payment(run, store, generate) for _ in range(3))
    there.create()
    store.batch_operate([Remove(child_key(lost.coins[1][0].txid, 1))], 30.0)
    codes = run("abandon", [lost.item, there.item, [], good.item]).codes
    assert codes == ["STORE_ERROR", "SPENDER_EXISTS", "BAD_REQUEST", "OK"]
    assert good.holds() == [False] * 3


def test_a_master_hears_of_the_children_that_hold_a_live_coin_again(
    run: Run, store: Store, generate: Generator, payment: Payment
) -> None:
    source = payment.sources[0]
    execute_follow_ups(run, run("spend", [[*generate.spend((source, 2))], payment.spends[1]]))
    assert bins_of(store, source.txid)["spentExtraRecs"] == 1
    execute_follow_ups(run, payment.abandon())
    assert bins_of(store, source.txid)["spentExtraRecs"] == 0
