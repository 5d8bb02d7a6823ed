"""accept of what is in blocks: those that are missing are added, and it is unlocked. In a store whose batches are one
whole, and in one that takes record by record."""

from typing import Any

import pytest

from protocol.item_flags import ACCEPT_LOCKED, MINED_ON_LONGEST_CHAIN
from store import Store
from tests.support.accepting import accept, item, payment
from tests.support.dispatching import HEIGHT, Run, bins_of, execute_follow_ups, matured, records_of
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


@pytest.mark.parametrize("values", [[5], [1, 2, 3]], ids=["of one record", "of several"])
def test_a_block_that_is_named_twice_is_listed_once(
    run: Run, store: Store, generate: Generator, values: list[int]
) -> None:
    coinbase = generate.coinbase(values)
    accept(run, coinbase, height=300, mined=[(8, 300, 1), (7, 300, 0), (8, 300, 1)])
    bins = bins_of(store, coinbase.txid)
    assert (bins["blockIDs"], bins["subtreeIdxs"]) == ([7, 8], [0, 1])


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_mined_blocks_that_are_missing_are_added_and_unlock_it(
    run: Run, store: Store, generate: Generator, outputs: int
) -> None:
    parent = matured(run, generate, [10])
    child = payment(generate, (parent, 0), outputs=outputs)
    accept(run, child, flags=ACCEPT_LOCKED)
    dispatched = run("accept", [item(child, mined=[(7, 201, 3), (8, 202, 4)])])
    assert not dispatched.results[0]["created"]
    execute_follow_ups(run, dispatched)
    bins = bins_of(store, child.txid)
    assert (bins["blockIDs"], bins["blockHeights"], bins["subtreeIdxs"]) == ([7, 8], [201, 202], [3, 4])
    assert "unminedSince" not in bins
    assert [record["locked"] for record in records_of(store, child)] == [False] * len(records_of(store, child))


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_a_block_that_it_is_in_already_unlocks_it_as_one_that_is_missing(
    run: Run, store: Store, generate: Generator, outputs: int
) -> None:
    parent = matured(run, generate, [10])
    child = payment(generate, (parent, 0), outputs=outputs)
    accept(run, child, mined=[(7, 201, 3)])
    execute_follow_ups(run, run("set_locked", [[child.txid, True]]))
    execute_follow_ups(run, run("accept", [item(child, mined=[(7, 201, 3)])]))
    assert not any(record["locked"] for record in records_of(store, child))
    assert bins_of(store, child.txid)["blockIDs"] == [7]


def test_asked_again_with_its_block_one_that_was_to_be_locked_stays_so(
    run: Run, store: Store, generate: Generator
) -> None:
    child = payment(generate, (matured(run, generate, [10]), 0), outputs=5)
    accept(run, child, mined=[(7, 201, 3)], flags=ACCEPT_LOCKED)
    before = records_of(store, child)
    accept(run, child, mined=[(7, 201, 3)], flags=ACCEPT_LOCKED)
    assert records_of(store, child) == before
    assert all(record["locked"] for record in before)


@pytest.mark.parametrize("how", ["it was of a side chain", "its chain was left"])
def test_a_block_that_is_listed_and_of_another_chain_becomes_one_of_the_longest(
    run: Run, store: Store, generate: Generator, how: str
) -> None:
    child = payment(generate, (matured(run, generate, [10]), 0))
    accept(run, child)
    if how == "it was of a side chain":
        assert run("set_mined", [[child.txid, 7, HEIGHT, 0, HEIGHT, 0]]).results
    else:
        assert run("set_mined", [[child.txid, 7, HEIGHT, 0, HEIGHT, MINED_ON_LONGEST_CHAIN]]).results
        assert run("mark_longest_chain", [[child.txid, False, HEIGHT]]).results
    assert "unminedSince" in bins_of(store, child.txid)
    accept(run, child, mined=[(7, HEIGHT, 0)])
    bins = bins_of(store, child.txid)
    assert "unminedSince" not in bins
    assert bins["blockIDs"] == [7]
    before = records_of(store, child)
    accept(run, child, mined=[(7, HEIGHT, 0)])
    assert records_of(store, child) == before


def test_asked_again_with_its_block_the_childrens_unlocking_that_was_lost_is_sent_again(
    run: Run, store: Store, generate: Generator
) -> None:
    parent = matured(run, generate, [10])
    child = payment(generate, (parent, 0), outputs=5)
    accept(run, child, flags=ACCEPT_LOCKED)
    accept(run, child, mined=[(7, 201, 3)])  # what follows from it is lost
    assert [record["locked"] for record in records_of(store, child)] == [False, True, True]
    execute_follow_ups(run, run("accept", [item(child, mined=[(7, 201, 3)])]))
    assert [record["locked"] for record in records_of(store, child)] == [False, False, False]
