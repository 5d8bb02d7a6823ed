"""accept: one request, one answer, all or nothing, and asked again it says the same: in a store whose batches are one
whole, and in one that takes record by record."""

from typing import Any

import pytest

from protocol.item_flags import (
    ACCEPT_CONFLICTING,
    ACCEPT_IGNORE_CONFLICTING,
    ACCEPT_IGNORE_LOCKED,
    ACCEPT_LOCKED,
    CREATE_CONFLICTING,
    CREATE_LOCKED,
)
from store import Store
from tests.support.accepting import accept, details, extended, is_there, item, payment, spender_of
from tests.support.dispatching import HEIGHT, Run, bins_of, create, execute_follow_ups, matured, records_of
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


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
