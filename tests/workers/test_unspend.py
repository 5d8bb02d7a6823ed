"""unspend: its owner's spend alone, and not of a spender that the chain relies on or that was pruned."""

from typing import Any

import pytest

from protocol.item_flags import MINED_ON_LONGEST_CHAIN, MINED_UNSET
from store import Read, Result, RuleCall, Status, Store
from store.faulty import FaultyStore
from store.transaction import Transaction
from tests.support.dispatching import HEIGHT, Run, bins_of, create, dispatch, matured
from tests.support.wrapped import Recording, Wrapped
from utxod.generate import Generator


class Paid:
    """A payment of two coins that is in the set, and its spends as items."""

    def __init__(self, run: Run, generate: Generator) -> None:
        self.coinbase = matured(run, generate, [1, 2])
        coins = [(self.coinbase, vout) for vout in range(2)]
        self.payment: Transaction = generate.payment(coins)
        self.spends = [[*generate.spend(coin, self.payment, vin)] for vin, coin in enumerate(coins)]
        assert run("spend", self.spends).results == [True, True]
        create(run, self.payment)

    def mine(self, run: Run, flags: int) -> None:
        assert run("set_mined", [[self.payment.txid, 7, HEIGHT, 0, HEIGHT, flags]]).results


@pytest.fixture
def paid(run: Run, generate: Generator) -> Paid:
    return Paid(run, generate)


def test_a_spend_is_undone_once_and_then_it_is_unspent(run: Run, paid: Paid) -> None:
    assert run("unspend", paid.spends).results == [True, True]
    assert run("unspend", paid.spends).results == [False, False]


def test_an_output_of_another_is_spent_and_names_him(run: Run, generate: Generator, paid: Paid) -> None:
    rival = [*generate.spend((paid.coinbase, 0))]
    (outcome,) = run("unspend", [rival]).outcomes
    assert (outcome.code, outcome.executed) == ("SPENT", "no")
    assert outcome.error is not None
    assert outcome.error.details == {"spending_txid": paid.payment.txid, "spending_vin": 0}


def test_a_spender_that_is_mined_on_the_longest_chain_keeps_its_spends(
    run: Run, generate: Generator, paid: Paid
) -> None:
    """Its own items are refused, whatever else is in the batch."""
    paid.mine(run, MINED_ON_LONGEST_CHAIN)
    other = Paid(run, generate)
    outcomes = run("unspend", [paid.spends[0], other.spends[0], paid.spends[1]]).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [
        ("SPENDER_MINED", "no"),
        ("OK", None),
        ("SPENDER_MINED", "no"),
    ]
    paid.mine(run, MINED_UNSET)
    assert run("unspend", paid.spends).results == [True, True]


def test_a_spender_that_is_mined_on_another_branch_only_gives_back(run: Run, paid: Paid) -> None:
    paid.mine(run, 0)
    assert run("unspend", paid.spends).results == [True, True]


def test_a_spender_that_was_pruned_keeps_its_spends(run: Run, store: Store, paid: Paid) -> None:
    store.batch_operate([RuleCall(paid.coinbase.txid, "addDeletedChildren", ([[0, paid.payment.txid]],))], 30.0)
    before = bins_of(store, paid.coinbase.txid)
    assert run("unspend", paid.spends[:1]).codes == ["INVALID_SPEND"]
    assert bins_of(store, paid.coinbase.txid) == before


def test_all_spenders_are_read_at_once_and_each_once(store: Store, paid: Paid) -> None:
    recording = Recording(store)
    assert dispatch(recording, "unspend", paid.spends).results == [True, True]
    (reads, calls) = recording.batches
    assert [operation.key for operation in reads] == [paid.payment.txid]
    assert isinstance(reads[0], Read)
    assert [operation.function for operation in calls] == ["unspend", "unspend"]


@pytest.mark.parametrize(("kind", "code"), [("fail", "STORE_ERROR"), ("drop", "INTERNAL"), ("malform", "INTERNAL")])
def test_a_spender_that_can_not_be_read_fails_only_its_own_items(
    run: Run, store: Store, generate: Generator, kind: str, code: str
) -> None:
    paid, other = Paid(run, generate), Paid(run, generate)
    items = [paid.spends[0], other.spends[0], paid.spends[1]]
    assert dispatch(FaultyStore(store, [{"kind": kind, "index": 0}]), "unspend", items).codes == [code, "OK", code]
    assert run("unspend", items).results == [True, False, True]


class Misreading(Wrapped):
    """A store that reads blocks that are none."""

    def batch_operate(self, record_operations: Any, budget: float) -> Any:
        if isinstance(record_operations[0], Read):
            return [Result(Status.OK, {"blockIDs": 7}, key=read.key) for read in record_operations]
        return self._inner.batch_operate(record_operations, budget)


def test_a_spender_whose_blocks_can_not_be_read_is_a_fault(store: Store, paid: Paid) -> None:
    (outcome,) = dispatch(Misreading(store), "unspend", paid.spends[:1]).outcomes
    assert (outcome.code, outcome.executed) == ("INTERNAL", "unknown")
