"""abandon bars the creation of what it has given back, for as long as an attempt may still be under way."""

from typing import Any

import pytest

from store import Store, Write
from store.layout import ABANDONED
from store.transaction import Transaction
from tests.support.abandoning import Payment, check_abandoned, told
from tests.support.accepting import payment as payment_of
from tests.support.dispatching import HEIGHT, Run, bins_of, dispatch, matured, output_of, record_of
from tests.support.wrapped import Meanwhile, Recording, writes
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


def test_what_bars_its_creation_stays_out_of_sight(run: Run, store: Store, payment: Payment) -> None:
    assert payment.abandon().results == [[True] * 3]
    there = record_of(store, payment.txid)
    assert there == (None if store.is_atomic else {ABANDONED: True})
    for operation, item in {
        "get": [payment.txid, None],
        "outpoint": [payment.txid, 0],
        "utxo": [payment.txid, 0, None],
        "set_dah": [payment.txid, 0, 5],
        "set_locked": [payment.txid, True],
        "spend": [*output_of(payment.transaction, 0), bytes(32), 0, HEIGHT, 0],
        "set_mined": [payment.txid, 7, HEIGHT, 0, HEIGHT, 1],
        "preserve_until": [payment.txid, 5],
    }.items():
        assert run(operation, [item]).codes == ["TX_NOT_FOUND"], operation
    assert run("get", [[payment.txid, ["fee"]], [payment.sources[1].txid, ["txID"]]]).codes == ["TX_NOT_FOUND", "OK"]
    assert record_of(store, payment.txid) == there


@pytest.mark.parametrize("outputs", [1, 3], ids=["one record", "several records"])
def test_while_its_creation_is_barred_it_is_neither_accepted_nor_created(
    run: Run, store: Store, generate: Generator, outputs: int
) -> None:
    """And what an attempt spends until it meets that, it gives back."""
    source = matured(run, generate, [1, 2])
    coins = [(source, vout) for vout in range(2)]
    transaction = payment_of(generate, *coins, outputs=outputs)
    outpoints = [[source.txid, vout] for vout in range(2)]
    assert run("abandon", [[transaction.txid, outpoints, HEIGHT]]).results == [[False, False]]
    accepted, created = (run(name, [item]).outcomes[0] for name, item in ways_in(transaction).items())
    if store.is_atomic:
        assert told(accepted) == ("OK", None)
        return
    for outcome in (accepted, created):
        check_abandoned(outcome)
    assert run("spend", [[*generate.spend(coin)] for coin in coins]).results == [True, True]


def ways_in(transaction: Transaction) -> dict[str, list[Any]]:
    return {
        "accept": [transaction.raw, HEIGHT, [], 0],
        "create": [transaction.raw, HEIGHT, [], 0, None],
    }


@pytest.mark.parametrize("outputs", [1, 3], ids=["one record", "several records"])
def test_an_accept_that_is_abandoned_between_its_steps_keeps_nothing(
    run: Run, store: Store, generate: Generator, outputs: int
) -> None:
    """Or it comes to be first, and the other is refused."""
    source = matured(run, generate, [1, 2])
    transaction = payment_of(generate, (source, 0), (source, 1), outputs=outputs)
    item = [transaction.txid, [[source.txid, 0], [source.txid, 1]], HEIGHT]
    between = Meanwhile(store, writes(transaction.txid), lambda: run("abandon", [item]))
    (outcome,) = dispatch(between, "accept", [ways_in(transaction)["accept"]]).outcomes
    assert between.happened
    spenders = [utxo[32:64] for utxo in bins_of(store, source.txid)["utxos"]]
    if store.is_atomic:
        assert (outcome.code, spenders) == ("OK", [transaction.txid] * 2)
    else:
        assert outcome.code in ("ABANDONED", "STORE_ERROR")
        assert spenders == [b"", b""]
        assert run("get", [[transaction.txid, None]]).codes == ["TX_NOT_FOUND"]


def test_it_is_barred_longer_than_a_dispatch_and_its_last_call_can_last(store: Store, payment: Payment) -> None:
    if store.is_atomic:
        pytest.skip("there it stands for one batch")
    for budget, grace in ((20.0, 0.0), (30.0, 300.0), (20.4, 0.2)):
        recording = Recording(store)
        assert dispatch(recording, "abandon", [payment.item], budget=budget, grace=grace).codes == ["OK"]
        (write,) = [each for batch in recording.batches for each in batch if isinstance(each, Write)]
        assert write.ttl is not None
        assert budget + grace + budget + 1 < write.ttl < budget + grace + budget + 4
