"""What accept takes on trust: nothing that is not held against the set, or against the transaction's own id. In a store
whose batches are one whole, and in one that takes record by record."""

from typing import Any

import pytest

from protocol.hashing import varint
from protocol.item_flags import ACCEPT_CONFLICTING
from store.layout import lock_key
from store.transaction import EXTENDED_MARKER, Input, Transaction, parse_transaction
from tests.support.accepting import details, item, payment, spender_of
from tests.support.dispatching import HEIGHT, Run, bins_of, dispatch, matured
from tests.support.wrapped import Meanwhile, writes
from utxod.generate import Coin, Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


def saying(transaction: Transaction, *values: int) -> Transaction:
    """In the extended format: what it says that its inputs spend."""
    inputs = [
        Input(each.raw, each.previous_txid, each.previous_vout, value, b"\x51").serialise()
        for each, value in zip(transaction.inputs, values, strict=True)
    ]
    outputs = transaction.raw[4 + 1 + sum(map(len, transaction.standard_inputs)) :]
    return parse_transaction(b"".join((transaction.raw[:4], EXTENDED_MARKER, varint(len(inputs)), *inputs, outputs)))


def test_what_a_conflicting_one_says_of_its_inputs_is_held_against_the_set(
    run: Run, store: Any, generate: Generator
) -> None:
    parent = matured(run, generate, [1000, 20])
    coins: list[Coin] = [(parent, 1), (parent, 0)]
    lie = saying(generate.payment(coins, 1), 20, 2_000_000_000)
    (outcome,) = run("accept", [item(lie, flags=ACCEPT_CONFLICTING)]).outcomes
    assert (outcome.code, outcome.executed) == ("UTXO_HASH_MISMATCH", "no")
    assert details(outcome)["vin"] == 0  # of another script
    assert details(outcome)["outpoint"] == [parent.txid, 1]
    truth = payment(generate, *coins)
    (result,) = run("accept", [item(truth, flags=ACCEPT_CONFLICTING)]).results
    assert result["fee"] == truth.fee
    assert bins_of(store, truth.txid)["extendedSize"] == truth.extended_size


def test_the_refusal_of_a_conflicting_one_names_what_it_has_already(run: Run, store: Any, generate: Generator) -> None:
    parent = matured(run, generate, [1000, 20])
    coins: list[Coin] = [(parent, 1), (parent, 0)]
    truth = generate.payment(coins, 1)
    assert run("spend", [[*generate.spend(coins[0], truth, 0)]]).results == [True]
    (outcome,) = run("accept", [item(saying(truth, 20, 2_000_000_000), flags=ACCEPT_CONFLICTING)]).outcomes
    assert (outcome.code, outcome.executed) == ("UTXO_HASH_MISMATCH", "no")
    assert details(outcome) == {"vin": 0, "outpoint": [parent.txid, 1], "held": [[parent.txid, 1]]}
    assert spender_of(store, coins[0]) == truth.txid


def test_where_a_parent_of_a_conflicting_one_is_not_there_nothing_is_kept_of_what_it_says(
    run: Run, store: Any, generate: Generator
) -> None:
    parent, absent = matured(run, generate, [1000]), generate.coinbase([7])
    for outputs in (2, 5):  # in its record, and in a blob
        child = payment(generate, (parent, 0), (absent, 0), outputs=outputs)
        (result,) = run("accept", [item(child, flags=ACCEPT_CONFLICTING)]).results
        assert result["created"]
        assert "fee" not in result
        assert not {"fee", "extendedSize"} & set(bins_of(store, child.txid))
        if outputs == 5:
            assert store.blobs.get(child.txid) == child.in_standard_format().raw


def test_a_conflicting_one_may_spend_of_its_batch(run: Run, store: Any, generate: Generator) -> None:
    parent = payment(generate, (matured(run, generate, [1000]), 0))
    child = payment(generate, (parent, 0))
    results = run("accept", [item(child, flags=ACCEPT_CONFLICTING), item(parent)]).results
    assert results[0]["fee"] == child.fee


@pytest.mark.parametrize("operation", ["accept", "create"])
def test_a_blob_that_was_lost_is_not_replaced_with_what_nobody_has_checked(
    run: Run, store: Any, generate: Generator, operation: str
) -> None:
    parent = matured(run, generate, [1])
    child = payment(generate, (parent, 0), outputs=5)
    assert run("accept", [item(child)]).results
    store.blobs.delete(child.txid)
    lie = saying(child.in_standard_format(), 77)
    own = item(lie) if operation == "accept" else [lie.raw, HEIGHT, [], 0, None]
    (outcome,) = run(operation, [own]).outcomes
    assert store.blobs.get(child.txid) == child.in_standard_format().raw
    if operation == "accept":
        assert outcome.result["fee"] == child.fee == bins_of(store, child.txid)["fee"]


def partial_of(transaction: Transaction) -> list[Any]:
    outputs = {0: [transaction.satoshis[0], transaction.locking_scripts[0]]}
    return [None, HEIGHT, [], 0, [transaction.txid, outputs]]


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_one_of_which_only_some_outputs_are_there_is_not_accepted(
    run: Run, store: Any, generate: Generator, moment: str
) -> None:
    parent = matured(run, generate, [1000])
    child = payment(generate, (parent, 0))

    def partially() -> Any:
        return run("create", [partial_of(child)]).results

    if moment == "before":
        partially()
        meanwhile: Any = store
    else:
        meanwhile = Meanwhile(store, writes(child.txid), partially)
    (outcome,) = dispatch(meanwhile, "accept", [item(child)]).outcomes
    assert (outcome.code, outcome.executed) == ("TX_EXISTS", "no")
    assert "only some of its outputs" in str(outcome.error)
    assert spender_of(store, (parent, 0)) is None


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_one_that_comes_meanwhile_as_conflicting_holds_nothing(
    run: Run, store: Any, generate: Generator, outputs: int
) -> None:
    parent = matured(run, generate, [10, 20])
    child = payment(generate, (parent, 0), outputs=outputs)
    key = child.txid if store.is_atomic or outputs == 2 else lock_key(child.txid)
    meanwhile = Meanwhile(store, writes(key), lambda: run("accept", [item(child, flags=ACCEPT_CONFLICTING)]).results)
    (result,) = dispatch(meanwhile, "accept", [item(child)]).results
    assert meanwhile.happened
    assert (result["created"], result["conflicting"]) == (False, True)
    assert spender_of(store, (parent, 0)) is None


def test_what_a_refused_attempt_said_of_its_inputs_is_not_kept_in_the_blob(
    run: Run, store: Any, generate: Generator
) -> None:
    parent = matured(run, generate, [1000, 20])
    coins: list[Coin] = [(parent, 0), (parent, 1)]
    right = payment(generate, *coins, outputs=5)
    lie = saying(right.in_standard_format(), 5, 2_000_000_000)
    assert lie.txid == right.txid
    assert run("accept", [item(lie)]).codes == ["UTXO_HASH_MISMATCH"]
    assert run("accept", [item(right)]).codes == ["OK"]
    assert store.blobs.get(right.txid) == right.raw
