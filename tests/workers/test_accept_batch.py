"""accept, of several transactions in one batch: they spend from each other, want the same coin, or are the same one. In
a store whose batches are one whole, and in one that takes record by record."""

import itertools
from typing import Any

import pytest

from store import Store
from store.lmdb.store import EmbeddedStore
from tests.support.accepting import accept, details, extended, is_there, item, payment, spender_of
from tests.support.dispatching import HEIGHT, Run, bins_of, create, dispatch, matured
from tests.support.wrapped import Recording
from utxod.generate import Coin, Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_a_chain_in_one_batch_is_accepted_in_whatever_order(
    run: Run, store: Store, generate: Generator, is_extended: bool, order: tuple[int, ...], outputs: int
) -> None:
    coinbase = matured(run, generate, [100, 200])
    first = payment(generate, (coinbase, 0), outputs=outputs, is_extended=is_extended)
    second = payment(generate, (first, outputs - 1), (coinbase, 1), outputs=outputs, is_extended=is_extended)
    third = payment(generate, (second, 0), (first, 0), is_extended=is_extended)
    chain = [first, second, third]
    results = accept(run, *[chain[number] for number in order])
    assert [result["txID"] for result in results] == [chain[number].txid for number in order]
    assert all(result["created"] and result["fee"] == 0 for result in results)
    assert spender_of(store, (first, outputs - 1)) == second.txid
    assert spender_of(store, (second, 0)) == spender_of(store, (first, 0)) == third.txid
    assert not any(result["created"] for result in accept(run, *chain))


def test_what_spends_from_a_refused_one_is_refused(
    run: Run, store: Store, generate: Generator, is_extended: bool
) -> None:
    taken, free = matured(run, generate, [1]), matured(run, generate, [1])
    accept(run, payment(generate, (taken, 0)))
    first = payment(generate, (taken, 0), is_extended=is_extended)
    second = payment(generate, (first, 0), (free, 0), is_extended=is_extended)
    outcomes = run("accept", [item(second), item(first)]).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("TX_NOT_FOUND", "no"), ("SPENT", "no")]
    assert details(outcomes[0]) == {"vin": 0, "outpoint": [first.txid, 0]}
    assert spender_of(store, (free, 0)) is None


def test_of_rivals_in_one_batch_one_wins(run: Run, store: Store, generate: Generator, is_extended: bool) -> None:
    coins = [(matured(run, generate, [1]), 0) for _ in range(4)]
    rivals = [payment(generate, *coins[start : start + 2], is_extended=is_extended) for start in (0, 1, 2)]
    outcomes = run("accept", [item(rival) for rival in rivals]).outcomes
    winners = [rival for rival, outcome in zip(rivals, outcomes, strict=True) if outcome.code == "OK"]
    assert winners
    for rival, outcome in zip(rivals, outcomes, strict=True):
        assert outcome.code in ("OK", "SPENT")
        assert is_there(store, rival.txid) == (outcome.code == "OK")
    held = [spender_of(store, coin) for coin in coins]
    assert sorted(each for each in held if each) == sorted(2 * [winner.txid for winner in winners])


def test_one_loses_no_coin_to_a_rival_in_its_batch_that_is_refused_itself(
    run: Run, store: Store, generate: Generator, is_extended: bool
) -> None:
    coins = [(matured(run, generate, [1]), 0) for _ in range(3)]
    absent = generate.coinbase([1])
    rivals = [
        payment(generate, coins[0], coins[1], (absent, 0), is_extended=is_extended),
        payment(generate, coins[1], coins[2], is_extended=is_extended),
        payment(generate, coins[2], coins[0], is_extended=is_extended),
    ]
    outcomes = run("accept", [item(rival) for rival in rivals]).outcomes
    assert [outcome.code for outcome in outcomes] == ["TX_NOT_FOUND", "OK", "SPENT"]
    assert [spender_of(store, coin) for coin in coins] == [None, rivals[1].txid, rivals[1].txid]


def test_equal_transactions_in_one_batch_are_accepted_once(
    run: Run, store: Store, generate: Generator, is_extended: bool
) -> None:
    parent = matured(run, generate, [10, 20])
    child = payment(generate, (parent, 0), (parent, 1), is_extended=is_extended)
    results = accept(run, *[child] * 5)
    assert [result["created"] for result in results] == [True, False, False, False, False]
    assert all(result | {"created": True} == results[0] for result in results)
    assert "joined" not in bins_of(store, parent.txid)


def test_equal_transactions_in_one_batch_are_refused_alike(run: Run, store: Store, generate: Generator) -> None:
    parent, absent = matured(run, generate, [10]), generate.coinbase([1])
    child = payment(generate, (parent, 0), (absent, 0))
    outcomes = run("accept", [item(child)] * 3).outcomes
    assert [outcome.code for outcome in outcomes] == ["TX_NOT_FOUND"] * 3
    assert spender_of(store, (parent, 0)) is None


def test_equal_transactions_in_one_batch_with_different_blocks_are_in_all_of_them(
    run: Run, store: Store, generate: Generator
) -> None:
    parent = matured(run, generate, [10])
    child = payment(generate, (parent, 0))
    items = [item(child), item(child, mined=[(7, 201, 3)]), item(child, mined=[(8, 202, 3), (7, 201, 3)])]
    assert [result["created"] for result in run("accept", items).results] == [True, False, False]
    assert sorted(bins_of(store, child.txid)["blockIDs"]) == [7, 8]


def test_one_transaction_asked_at_two_heights_is_judged_at_each(run: Run, store: Store, generate: Generator) -> None:
    free, young = matured(run, generate, [1]), generate.coinbase([1])
    create(run, young, height=100)
    child = payment(generate, (free, 0), (young, 0))
    outcomes = run("accept", [item(child, height=199), item(child, height=200), item(child, height=199)]).outcomes
    assert [outcome.code for outcome in outcomes] == ["COINBASE_IMMATURE", "OK", "COINBASE_IMMATURE"]
    assert outcomes[1].result["created"]
    assert spender_of(store, (free, 0)) == spender_of(store, (young, 0)) == child.txid


def test_one_that_shows_a_wrong_output_is_refused_by_itself(
    run: Run, store: Store, generate: Generator, is_extended: bool
) -> None:
    parent, rich = matured(run, generate, [1]), generate.coinbase([1000])
    honest = payment(generate, (parent, 0), is_extended=is_extended)
    lying = extended(honest.in_standard_format(), [(rich, 0)])
    outcomes = run("accept", [item(lying), item(honest), item(lying)]).outcomes
    assert [outcome.code for outcome in outcomes][:2] == ["UTXO_HASH_MISMATCH", "OK"]
    assert outcomes[1].result["created"]


def test_an_item_that_is_no_transaction_fails_alone(run: Run, generate: Generator) -> None:
    parent = matured(run, generate, [1])
    good = item(payment(generate, (parent, 0)))
    outcomes = run("accept", [[b"\1\0\0", HEIGHT, [], 0], good]).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("BAD_REQUEST", "no"), ("OK", None)]


def test_a_batch_takes_as_many_store_calls_as_one_item(store: Any, run: Run, generate: Generator) -> None:
    def calls_of(number: int, *, is_extended: bool) -> int:
        coins: list[Coin] = [(matured(run, generate, [1]), 0) for _ in range(2 * number)]
        pairs = list(zip(coins[::2], coins[1::2], strict=True))
        recording = Recording(store)
        items = [item(payment(generate, *pair, is_extended=is_extended)) for pair in pairs]
        assert all(result["created"] for result in dispatch(recording, "accept", items).results)
        return len(recording.batches)

    for is_extended in (True, False):
        assert calls_of(1, is_extended=is_extended) == calls_of(30, is_extended=is_extended) <= 4


def test_one_too_big_for_its_record_moves_to_the_blob_store_and_what_spends_from_it_is_accepted(
    tmp_path: Any, generate: Generator
) -> None:
    store = EmbeddedStore(tmp_path / "small", sync=False, max_record_bytes=1800)
    coinbase = generate.coinbase([100])
    dispatch(store, "create", [[coinbase.raw, 1, [], 0, None]])
    big = payment(generate, (coinbase, 0), outputs=20)
    child, grandchild = payment(generate, (big, 19)), generate.coinbase([1])
    items = [item(child), item(big), item(grandchild)]
    assert [result["created"] for result in dispatch(store, "accept", items).results] == [True] * 3
    assert bins_of(store, big.txid)["external"] is True
    assert store.blobs.get(big.txid) == big.raw
    assert spender_of(store, (big, 19)) == child.txid
    store.close()
