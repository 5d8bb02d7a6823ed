"""accept: one request, one answer, all or nothing, and asked again it says the same: in a store whose batches are one
whole, and in one that takes record by record."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.item_flags import (
    ACCEPT_CONFLICTING,
    ACCEPT_IGNORE_CONFLICTING,
    ACCEPT_IGNORE_LOCKED,
    ACCEPT_LOCKED,
    CREATE_CONFLICTING,
    CREATE_LOCKED,
    MINED_ON_LONGEST_CHAIN,
)
from store import Store
from store.faulty import FaultyStore
from store.lmdb.store import EmbeddedStore
from store.transaction import Transaction
from tests.support.accepting import extended, is_there, item, payment, spender_of
from tests.support.dispatching import (
    HEIGHT,
    Outcome,
    Run,
    bins_of,
    create,
    dispatch,
    execute_follow_ups,
    matured,
    records_of,
)
from utxod.generate import Coin, Generator


@pytest.fixture(params=["as one whole", "record by record"])
def store(store: Store, request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "as one whole":
        if not store.is_atomic:
            pytest.skip("this store takes record by record")
        yield store
    else:
        yield FaultyStore(store, [], atomic=False)


@pytest.fixture(params=[True, False], ids=["extended", "standard"])
def is_extended(request: pytest.FixtureRequest) -> Any:
    return request.param


def details(outcome: Outcome) -> Any:
    assert outcome.error is not None
    return outcome.error.details


def accept(run: Run, *transactions: Transaction, **asked: Any) -> list[Any]:
    return run("accept", [item(transaction, **asked) for transaction in transactions]).results


def test_a_transaction_comes_into_the_set_with_all_of_its_spends(
    run: Run, store: Store, generate: Generator, is_extended: bool
) -> None:
    parent, other = matured(run, generate, [1, 20, 300]), matured(run, generate, [4000])
    coins = [(parent, 2), (other, 0), (parent, 0)]
    child = payment(generate, *coins, is_extended=is_extended)
    assert accept(run, child) == [
        {
            "txID": child.txid,
            "created": True,
            "conflicting": False,
            "isCoinbase": False,
            "sizeInBytes": child.size,
            "totalUtxos": 2,
            "records": 1,
            "fee": 0,
        }
    ]
    assert [spender_of(store, coin) for coin in coins] == [child.txid] * 3
    assert spender_of(store, (parent, 1)) is None
    bins = bins_of(store, child.txid)
    assert (bins["unminedSince"], bins["locked"], bins["fee"]) == (HEIGHT, False, 0)
    assert run("get", [[child.txid, ["tx"]]]).results[0]["tx"] == child.raw


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_asked_again_it_says_the_same_and_changes_nothing(
    run: Run, store: Store, generate: Generator, is_extended: bool, outputs: int
) -> None:
    parent = matured(run, generate, [10, 20])
    child = payment(generate, (parent, 0), (parent, 1), outputs=outputs, is_extended=is_extended)
    (first,) = accept(run, child)
    before = records_of(store, parent), records_of(store, child)
    for _ in range(2):
        assert accept(run, child) == [first | {"created": False}]
    assert (records_of(store, parent), records_of(store, child)) == before


def test_a_transaction_of_several_records_is_accepted_whole(run: Run, store: Store, generate: Generator) -> None:
    parent = matured(run, generate, [10, 20])
    child = payment(generate, (parent, 0), (parent, 1), outputs=5)
    (result,) = accept(run, child, flags=ACCEPT_LOCKED)
    assert (result["records"], result["totalUtxos"]) == (3, 5)
    for bins in records_of(store, child):
        assert "creating" not in bins
        assert bins["locked"] is True


def test_one_refused_input_leaves_nothing_and_is_named(
    run: Run, store: Store, generate: Generator, is_extended: bool
) -> None:
    parent, taken = matured(run, generate, [1, 2]), matured(run, generate, [3])
    rival = payment(generate, (taken, 0))
    accept(run, rival)
    child = payment(generate, (parent, 0), (taken, 0), (parent, 1), is_extended=is_extended)
    (outcome,) = run("accept", [item(child)]).outcomes
    assert (outcome.code, outcome.executed) == ("SPENT", "no")
    assert details(outcome) == {
        "vin": 1,
        "outpoint": [taken.txid, 0],
        "spending_txid": rival.txid,
        "spending_vin": 0,
    }
    assert not is_there(store, child.txid)
    assert [spender_of(store, (parent, vout)) for vout in (0, 1)] == [None, None]
    accept(run, payment(generate, (parent, 0), (parent, 1)))


def test_a_parent_that_is_not_there_is_named(run: Run, store: Store, generate: Generator, is_extended: bool) -> None:
    parent, absent = matured(run, generate, [1]), generate.coinbase([1, 2, 3])
    for vout in (0, 2):
        child = payment(generate, (parent, 0), (absent, vout), is_extended=is_extended)
        (outcome,) = run("accept", [item(child)]).outcomes
        assert (outcome.code, outcome.executed) == ("TX_NOT_FOUND", "no")
        assert details(outcome) == {"vin": 1, "outpoint": [absent.txid, vout]}
    assert spender_of(store, (parent, 0)) is None


def test_what_the_transaction_has_already_is_named_in_the_refusal(
    run: Run, store: Store, generate: Generator, is_extended: bool
) -> None:
    parent, absent = matured(run, generate, [1, 2, 3]), generate.coinbase([1])
    child = payment(generate, (parent, 2), (absent, 0), (parent, 0), is_extended=is_extended)
    held = [*generate.spend((parent, 2), child, 0)]
    assert run("spend", [held]).results == [True]
    for _ in range(2):
        (outcome,) = run("accept", [item(child)]).outcomes
        assert outcome.code == "TX_NOT_FOUND"
        assert details(outcome)["held"] == [[parent.txid, 2]]
    assert spender_of(store, (parent, 2)) == child.txid
    assert spender_of(store, (parent, 0)) is None
    create(run, absent)
    accept(run, child)


def test_a_wrong_value_in_the_extended_format_is_refused(run: Run, store: Store, generate: Generator) -> None:
    parent, rich = matured(run, generate, [1]), generate.coinbase([1000])
    honest = generate.payment([(parent, 0)])
    lying = extended(honest, [(rich, 0)])
    (outcome,) = run("accept", [item(lying)]).outcomes
    assert outcome.code == "UTXO_HASH_MISMATCH"
    assert details(outcome) == {"vin": 0, "outpoint": [parent.txid, 0]}
    assert spender_of(store, (parent, 0)) is None


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


def test_one_transaction_asked_at_two_heights_is_judged_at_each(run: Run, store: Store, generate: Generator) -> None:
    free, young = matured(run, generate, [1]), generate.coinbase([1])
    create(run, young, height=100)
    child = payment(generate, (free, 0), (young, 0))
    outcomes = run("accept", [item(child, height=199), item(child, height=200), item(child, height=199)]).outcomes
    assert [outcome.code for outcome in outcomes] == ["COINBASE_IMMATURE", "OK", "COINBASE_IMMATURE"]
    assert outcomes[1].result["created"]
    assert spender_of(store, (free, 0)) == spender_of(store, (young, 0)) == child.txid


def test_two_inputs_that_spend_the_same_output_are_refused(run: Run, store: Store, generate: Generator) -> None:
    parent = matured(run, generate, [10])
    twice = payment(generate, (parent, 0), (parent, 0))
    (outcome,) = run("accept", [item(twice)]).outcomes
    assert (outcome.code, outcome.executed) == ("BAD_REQUEST", "no")
    assert spender_of(store, (parent, 0)) is None


@pytest.mark.parametrize("values", [[5], [1, 2, 3]], ids=["of one record", "of several"])
def test_a_coinbase_spends_nothing(run: Run, store: Store, generate: Generator, values: list[int]) -> None:
    coinbase = generate.coinbase(values)
    (result,) = accept(run, coinbase, height=300, mined=[(7, 300, 0)])
    assert (result["isCoinbase"], result["created"], result["fee"]) == (True, True, 0)
    bins = bins_of(store, coinbase.txid)
    assert (bins["spendingHeight"], bins["blockIDs"]) == (400, [7])
    assert accept(run, coinbase, height=300, mined=[(7, 300, 0)]) == [result | {"created": False}]
    (outcome,) = run("accept", [item(generate.coinbase(values), height=300, mined=[(7, 301, 0)])]).outcomes
    assert outcome.code == "BAD_REQUEST"


@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_a_conflicting_one_spends_nothing_and_is_noted_in_its_parents(
    run: Run, store: Store, generate: Generator, is_extended: bool, outputs: int
) -> None:
    parent, other = matured(run, generate, [1, 2, 3]), matured(run, generate, [4])
    child = payment(generate, (parent, 2), (other, 0), outputs=outputs, is_extended=is_extended)
    (result,) = accept(run, child, flags=ACCEPT_CONFLICTING)
    assert (result["created"], result["conflicting"]) == (True, True)
    assert spender_of(store, (parent, 2)) is spender_of(store, (other, 0)) is None
    for each in (parent, other):
        assert bins_of(store, each.txid)["conflictingCs"] == [child.txid]
    assert bins_of(store, child.txid)["deleteAtHeight"] == HEIGHT + 288
    for flags in (0, ACCEPT_CONFLICTING):
        assert accept(run, child, flags=flags) == [result | {"created": False}]


def test_one_that_is_there_unmarked_is_not_conflicting_whatever_is_asked(
    run: Run, store: Store, generate: Generator
) -> None:
    parent = matured(run, generate, [1])
    child = payment(generate, (parent, 0))
    accept(run, child)
    (result,) = accept(run, child, flags=ACCEPT_CONFLICTING)
    assert (result["created"], result["conflicting"]) == (False, False)
    assert "conflictingCs" not in bins_of(store, parent.txid)


@pytest.mark.parametrize(
    ("created", "asked", "code"),
    [
        (CREATE_LOCKED, ACCEPT_IGNORE_LOCKED, "LOCKED"),
        (CREATE_CONFLICTING, ACCEPT_IGNORE_CONFLICTING, "CONFLICTING"),
    ],
)
def test_a_parents_flag_refuses_unless_it_is_ignored(
    run: Run, store: Store, generate: Generator, is_extended: bool, created: int, asked: int, code: str
) -> None:
    free, parent = matured(run, generate, [1]), generate.coinbase([1])
    create(run, parent, flags=created)
    child = payment(generate, (free, 0), (parent, 0), is_extended=is_extended)
    both = ACCEPT_IGNORE_LOCKED | ACCEPT_IGNORE_CONFLICTING
    for flags in (0, both & ~asked):
        (outcome,) = run("accept", [item(child, flags=flags)]).outcomes
        assert (outcome.code, outcome.executed) == (code, "no")
        assert details(outcome)["vin"] == 1
        assert spender_of(store, (free, 0)) is None
    accept(run, child, flags=asked)


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


def test_equal_transactions_in_one_batch_with_different_blocks_are_in_all_of_them(
    run: Run, store: Store, generate: Generator
) -> None:
    parent = matured(run, generate, [10])
    child = payment(generate, (parent, 0))
    items = [item(child), item(child, mined=[(7, 201, 3)]), item(child, mined=[(8, 202, 3), (7, 201, 3)])]
    assert [result["created"] for result in run("accept", items).results] == [True, False, False]
    assert sorted(bins_of(store, child.txid)["blockIDs"]) == [7, 8]


def test_the_last_coin_of_a_child_record_is_told_to_its_master(run: Run, store: Store, generate: Generator) -> None:
    parent = matured(run, generate, [1, 2, 3])
    dispatched = run("accept", [item(payment(generate, (parent, 2)))])
    execute_follow_ups(run, dispatched)
    assert bins_of(store, parent.txid)["spentExtraRecs"] == 1


def test_nothing_is_told_of_what_was_put_back(run: Run, store: Store, generate: Generator) -> None:
    parent, absent = matured(run, generate, [1, 2, 3]), generate.coinbase([1])
    dispatched = run("accept", [item(payment(generate, (parent, 2), (absent, 0)))])
    assert dispatched.codes == ["TX_NOT_FOUND"]
    execute_follow_ups(run, dispatched)
    assert bins_of(store, parent.txid)["spentExtraRecs"] == 0


def test_an_item_that_is_no_transaction_fails_alone(run: Run, generate: Generator) -> None:
    parent = matured(run, generate, [1])
    good = item(payment(generate, (parent, 0)))
    outcomes = run("accept", [[b"\1\0\0", HEIGHT, [], 0], good]).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("BAD_REQUEST", "no"), ("OK", None)]


def test_a_batch_takes_as_many_store_calls_as_one_item(store: Any, run: Run, generate: Generator) -> None:
    class Counting:
        calls = 0

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def batch_operate(self, *arguments: Any) -> Any:
            self.calls += 1
            return self.inner.batch_operate(*arguments)

    def calls_of(number: int, *, is_extended: bool) -> int:
        coins: list[Coin] = [(matured(run, generate, [1]), 0) for _ in range(2 * number)]
        pairs = list(zip(coins[::2], coins[1::2], strict=True))
        counting: Any = Counting(store)
        items = [item(payment(generate, *pair, is_extended=is_extended)) for pair in pairs]
        assert all(result["created"] for result in dispatch(counting, "accept", items).results)
        return int(counting.calls)

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
