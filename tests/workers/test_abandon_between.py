"""abandon, and whatever comes between its steps: another's, a creation, a pruning, an accept."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from protocol.item_flags import CREATE_CONFLICTING
from store import Read, RecordOperation, Remove, Result, RuleCall, Store, Write
from store.layout import ABANDONED
from tests.support.abandoning import Payment, is_unspend, told
from tests.support.accepting import payment as payment_of
from tests.support.dispatching import HEIGHT, RETENTION, Run, bins_of, dispatch, matured
from tests.support.wrapped import Meanwhile, Wrapped
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


def bars(operation: RecordOperation) -> bool:
    return isinstance(operation, Write) and ABANDONED in operation.bins


@pytest.mark.parametrize("flags", [0, CREATE_CONFLICTING])
def test_a_transaction_that_comes_meanwhile_keeps_its_inputs(store: Store, payment: Payment, flags: int) -> None:
    """Unless it is conflicting; as what it is found to be, so it is treated."""
    between = Meanwhile(store, bars, lambda: payment.create(flags))
    codes = dispatch(between, "abandon", [payment.item]).codes
    assert between.happened
    assert codes == (["OK"] if flags else ["SPENDER_EXISTS"])
    assert payment.holds() == [not flags] * 3


def test_what_a_rival_has_got_meanwhile_is_his(run: Run, store: Store, generate: Generator, payment: Payment) -> None:
    rival = [*generate.spend(payment.coins[0])]

    def lose() -> None:
        assert run("unspend", payment.spends[:1]).results == [True]
        assert run("spend", [rival]).results == [True]

    between = Meanwhile(store, is_unspend, lose)
    assert dispatch(between, "abandon", [payment.item]).results == [[False, True, True]]
    assert bins_of(store, rival[0])["utxos"][0][32:64] == rival[3]


def looks_at_spender(operation: RecordOperation) -> bool:
    return isinstance(operation, Read) and operation.bins is not None and "conflicting" in operation.bins


def last_guarded(store: Store) -> Callable[[RecordOperation], bool]:
    """Before what the giving back is held to: the group, or the look at the spender."""
    return is_unspend if store.is_atomic else looks_at_spender


def test_a_conflicting_transaction_that_is_none_meanwhile_keeps_its_inputs(store: Store, payment: Payment) -> None:
    payment.create(CREATE_CONFLICTING)
    call = RuleCall(payment.txid, "setConflicting", (False, HEIGHT, RETENTION))
    between = Meanwhile(store, last_guarded(store), lambda: store.batch_operate([call], 30.0))
    assert dispatch(between, "abandon", [payment.item]).codes == ["SPENDER_EXISTS"]
    assert payment.holds() == [True] * 3


def test_a_conflicting_transaction_that_goes_meanwhile_is_abandoned_all_the_same(
    store: Store, payment: Payment
) -> None:
    payment.create(CREATE_CONFLICTING)
    between = Meanwhile(store, last_guarded(store), lambda: store.batch_operate([Remove(payment.txid)], 30.0))
    assert dispatch(between, "abandon", [payment.item]).results == [[True] * 3]
    assert payment.holds() == [False] * 3


@pytest.mark.parametrize("spent_before", [0, 1, 3], ids=["nothing was given back", "one was", "all were"])
def test_what_is_pruned_and_accepted_anew_meanwhile_keeps_its_inputs(
    run: Run, store: Store, payment: Payment, spent_before: int
) -> None:
    """Whatever of the giving back was done by then, `spent_before` of its steps; the rest lands late."""
    payment.create(CREATE_CONFLICTING)

    def prune_and_accept() -> None:
        run("unspend", payment.spends)
        store.batch_operate([Remove(payment.txid)], 30.0)
        assert run("spend", payment.spends).results == [True] * 3
        payment.create()

    class InTheMiddle(Wrapped):
        acted = False

        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            if self.acted or not any(map(is_unspend, record_operations)):
                return list(self._inner.batch_operate(record_operations, budget))
            self.acted = True
            first = 0 if store.is_atomic else spent_before
            done = self._inner.batch_operate(record_operations[:first], budget) if first else []
            prune_and_accept()
            rest = record_operations[first:]
            return [*done, *(self._inner.batch_operate(rest, budget) if rest else [])]

    (outcome,) = dispatch(InTheMiddle(store), "abandon", [payment.item]).outcomes
    assert payment.holds() == [True] * 3
    if store.is_atomic or spent_before == 0:
        assert told(outcome) == ("SPENDER_EXISTS", "no")
    elif spent_before == 3:
        assert told(outcome) == ("OK", None)
    else:
        assert told(outcome) == ("SPENDER_EXISTS", "unknown")
        assert outcome.error is not None
        assert outcome.error.details == {"outpoints": payment.outpoints[1:]}


def test_what_is_spent_before_its_creation_is_barred_is_given_back(run: Run, store: Store, generate: Generator) -> None:
    """By an accept, say, whose worker then dies: that it is not held would be untrue for good."""
    coin = matured(run, generate, [1]), 0
    transaction = payment_of(generate, coin)

    def spend() -> None:
        assert run("spend", [[*generate.spend(coin, transaction, 0)]]).results == [True]

    between = Meanwhile(store, bars, spend)
    item = [transaction.txid, [[coin[0].txid, 0]], HEIGHT]
    (result,) = dispatch(between, "abandon", [item]).results
    if store.is_atomic:  # there no accept spends without coming to be: it was asked before
        assert run("abandon", [item]).results == [[True]]
    else:
        assert result == [True]
    assert bins_of(store, coin[0].txid)["utxos"][0][32:64] == b""
