"""What becomes of a transaction with the blocks that it is in: on all of its records, whatever is lost or late of what
follows, and when it is asked again."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from protocol.item_flags import CREATE_LOCKED, MINED_ON_LONGEST_CHAIN, MINED_UNSET
from store import Mode, RecordOperation, Remove, Result, Status, Store, Write
from store.faulty import FaultyStore
from store.layout import ABANDONED, child_key
from store.transaction import Transaction
from tests.support.dispatching import (
    HEIGHT,
    RETENTION,
    Dispatched,
    Run,
    bins_of,
    create,
    dispatch,
    execute_follow_ups,
    matured,
    records_of,
)
from tests.support.wrapped import Wrapped
from utxod.generate import Generator

ON, UNSET = MINED_ON_LONGEST_CHAIN, MINED_UNSET
BLOCK = 7  # its id
MINED_AT = 190  # its height


def mine(run: Run, transaction: Transaction, block: int = BLOCK, flags: int = ON) -> Dispatched:
    return run("set_mined", [[transaction.txid, block, MINED_AT, 3, HEIGHT, flags]])


def chain(run: Run, transaction: Transaction, value: bool, height: int = HEIGHT) -> Dispatched:
    return run("mark_longest_chain", [[transaction.txid, value, height]])


def preserve(run: Run, transaction: Transaction) -> Dispatched:
    return run("preserve_until", [[transaction.txid, HEIGHT + 50]])


def spend_all(run: Run, generate: Generator, transaction: Transaction) -> None:
    spends = [[*generate.spend((transaction, vout), height=HEIGHT)] for vout in range(len(transaction.outputs))]
    execute_follow_ups(run, run("spend", spends))


def delete_at_heights(store: Store, transaction: Transaction) -> set[int | None]:
    """Of all its records."""
    return {bins.get("deleteAtHeight") for bins in records_of(store, transaction)}


def locks(store: Store, transaction: Transaction) -> list[bool]:
    return [bins["locked"] for bins in records_of(store, transaction)]


def follow_ups_of(dispatched: Dispatched) -> list[str]:
    return [follow_up.operation for follow_up in dispatched.follow_ups]


# ---- set_mined


@pytest.mark.parametrize("outputs", [1, 5], ids=["one record", "several"])
def test_a_transaction_is_in_the_blocks_that_it_was_set_in_and_not_taken_out_of(
    run: Run, store: Store, generate: Generator, outputs: int
) -> None:
    coinbase = matured(run, generate, [1] * outputs)
    steps = [(7, ON, [7]), (7, ON, [7]), (8, 0, [7, 8]), (7, UNSET, [8]), (7, UNSET, [8]), (8, UNSET, [])]
    for block, flags, expected in steps:
        assert mine(run, coinbase, block, flags).results == [expected]
        assert bins_of(store, coinbase.txid).get("blockIDs", []) == expected


def test_of_one_transaction_what_is_asked_first_is_done_first(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3])
    item = [coinbase.txid, 7, MINED_AT, 3, HEIGHT, ON]
    again = [[coinbase.txid, 8, *item[2:]], [*item[:5], UNSET], item]
    assert run("set_mined", [item], again).results == [[7], [7, 8], [8], [8, 7]]


def test_many_transactions_of_a_block_are_set_at_once_and_one_that_is_missing_fails_alone(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbases = [matured(run, generate, [1] * outputs) for outputs in (1, 2, 3, 4)]
    txids = [coinbase.txid for coinbase in coinbases]
    txids.insert(2, bytes(32))
    dispatched = run("set_mined", [[txid, BLOCK, MINED_AT, 3, HEIGHT, ON] for txid in txids])
    assert dispatched.codes == ["OK", "OK", "TX_NOT_FOUND", "OK", "OK"]
    assert dispatched.outcomes[2].executed == "no"
    assert all(bins_of(store, coinbase.txid)["blockIDs"] == [BLOCK] for coinbase in coinbases)


def test_setting_says_on_which_chain_and_unsetting_whether_it_still_is(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1, 2, 3])
    mine(run, coinbase)
    assert "unminedSince" not in bins_of(store, coinbase.txid)
    mine(run, coinbase, 8, 0)
    mine(run, coinbase, 8, UNSET | ON)  # it is on the longest chain by the other block
    assert "unminedSince" not in bins_of(store, coinbase.txid)
    mine(run, coinbase, BLOCK, UNSET | ON)  # by none, whatever the flag says
    assert bins_of(store, coinbase.txid)["unminedSince"] == HEIGHT


def test_what_is_mined_is_unlocked_on_all_records_and_the_answer_waits_for_it(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = generate.coinbase([1, 2, 3, 4, 5])
    create(run, coinbase, flags=CREATE_LOCKED)
    dispatched = run("set_mined", [[bytes(32), 1, 1, 1, 1, 0]], [[coinbase.txid, BLOCK, MINED_AT, 3, HEIGHT, ON]])
    (awaited,) = [each for each in dispatched.follow_ups if each.request_index is not None]
    assert (awaited.request_index, awaited.item_index, awaited.operation, awaited.weight) == (1, 0, "lock_children", 2)
    assert locks(store, coinbase) == [False, True, True]
    execute_follow_ups(run, dispatched)
    assert locks(store, coinbase) == [False] * 3


def test_what_is_taken_out_of_a_block_stays_locked_as_it_is(run: Run, store: Store, generate: Generator) -> None:
    coinbase = generate.coinbase([1, 2, 3, 4, 5])
    create(run, coinbase)
    execute_follow_ups(run, mine(run, coinbase))
    for value in (True, False):
        execute_follow_ups(run, run("set_locked", [[coinbase.txid, value]]))
        dispatched = mine(run, coinbase, flags=UNSET)
        assert "lock_children" not in follow_ups_of(dispatched)
        execute_follow_ups(run, dispatched)
        assert locks(store, coinbase) == [value] * 3


def test_locks_and_mining_end_as_the_master_did_in_whatever_order_they_reach_its_children(
    run: Run, store: Store, generate: Generator
) -> None:
    """And however often."""
    for calls in itertools.product(("mine", "lock", "unlock"), repeat=3):
        for order in itertools.permutations(range(3)):
            coinbase = matured(run, generate, [1, 2, 3, 4, 5])
            done = [
                mine(run, coinbase) if call == "mine" else run("set_locked", [[coinbase.txid, call == "lock"]])
                for call in calls
            ]
            for place in (*order, order[0]):
                execute_follow_ups(run, done[place])
            assert locks(store, coinbase) == [calls[-1] == "lock"] * 3


def test_a_lost_unlocking_of_the_children_is_made_up_for_by_asking_again(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = generate.coinbase([1, 2, 3, 4, 5])
    create(run, coinbase, flags=CREATE_LOCKED)
    mine(run, coinbase)  # its follow-ups are lost
    execute_follow_ups(run, mine(run, coinbase))
    assert locks(store, coinbase) == [False] * 3


def test_a_child_record_that_is_missing_is_a_fault_of_what_is_mined(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    store.batch_operate([Remove(child_key(coinbase.txid, 2))], 30.0)
    (unlocking,) = [each for each in mine(run, coinbase).follow_ups if each.operation == "lock_children"]
    (outcome,) = run(unlocking.operation, [[coinbase.txid, 2, False, 1]]).outcomes
    assert outcome.error is not None
    assert (outcome.code, outcome.error.message) == ("STORE_ERROR", "child record 2 is missing")


def test_what_is_still_being_created_is_not_mined(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3])
    store.batch_operate([Write(coinbase.txid, {"creating": True}, Mode.UPDATE)], 30.0)
    before = records_of(store, coinbase)
    assert mine(run, coinbase).codes == ["CREATING"]
    assert records_of(store, coinbase) == before


@pytest.mark.parametrize("outputs", [2, 5], ids=["one record", "several"])
def test_what_is_spent_is_done_with_once_it_is_mined_counted_from_its_block(
    run: Run, store: Store, generate: Generator, outputs: int
) -> None:
    coinbase = matured(run, generate, [1] * outputs)
    spend_all(run, generate, coinbase)
    assert delete_at_heights(store, coinbase) == {None}
    execute_follow_ups(run, mine(run, coinbase))
    assert delete_at_heights(store, coinbase) == {MINED_AT + RETENTION}
    execute_follow_ups(run, mine(run, coinbase, flags=UNSET))
    assert delete_at_heights(store, coinbase) == {None}


@pytest.mark.parametrize("flags", [ON, UNSET])
def test_a_lost_delete_at_height_of_the_children_is_made_up_for_by_mining_again(
    run: Run, store: Store, generate: Generator, flags: int
) -> None:
    coinbase = matured(run, generate, [1] * 5)
    spend_all(run, generate, coinbase)
    if flags == UNSET:
        execute_follow_ups(run, mine(run, coinbase))
    mine(run, coinbase, flags=flags)  # its follow-ups are lost
    assert len(delete_at_heights(store, coinbase)) == 2
    execute_follow_ups(run, mine(run, coinbase, flags=flags))
    assert delete_at_heights(store, coinbase) == {None if flags == UNSET else MINED_AT + RETENTION}


def test_what_follows_from_blocks_may_come_in_any_order_and_twice(run: Run, store: Store, generate: Generator) -> None:
    for order in itertools.permutations(range(3)):
        coinbase = matured(run, generate, [1] * 5)
        spend_all(run, generate, coinbase)
        calls = [mine(run, coinbase), mine(run, coinbase, flags=UNSET), mine(run, coinbase, 8)]
        for place in (*order, *order):
            execute_follow_ups(run, calls[place])
        assert delete_at_heights(store, coinbase) == {MINED_AT + RETENTION}


# ---- mark_longest_chain


def test_a_transaction_leaves_the_longest_chain_and_comes_back(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3])
    mine(run, coinbase)
    for height in (HEIGHT, HEIGHT + 5):  # the earliest stays
        assert chain(run, coinbase, False, height).results == [True]
        assert bins_of(store, coinbase.txid)["unminedSince"] == HEIGHT
    assert chain(run, coinbase, True).results == [True]
    assert "unminedSince" not in bins_of(store, coinbase.txid)


def test_what_is_in_no_block_or_missing_comes_to_no_chain_and_harms_no_other(run: Run, generate: Generator) -> None:
    unmined, mined = (matured(run, generate, [1]) for _ in range(2))
    mine(run, mined)
    items = [[txid, True, HEIGHT] for txid in (mined.txid, unmined.txid, bytes(32), mined.txid)]
    outcomes = run("mark_longest_chain", items).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "INVALID_PARAMETER", "TX_NOT_FOUND", "OK"]
    assert {outcome.executed for outcome in outcomes[1:3]} == {"no"}


@pytest.mark.parametrize("lost", [False, True], ids=["", "the word is lost, and it is asked again"])
@pytest.mark.parametrize("outputs", [2, 5], ids=["one record", "several"])
def test_what_left_the_longest_chain_is_not_done_with_until_it_is_back(
    run: Run, store: Store, generate: Generator, outputs: int, lost: bool
) -> None:
    coinbase = matured(run, generate, [1] * outputs)
    execute_follow_ups(run, mine(run, coinbase))
    spend_all(run, generate, coinbase)
    for value, expected in ((False, None), (True, HEIGHT + RETENTION)):
        dispatched = chain(run, coinbase, value)
        if lost:
            dispatched = chain(run, coinbase, value)
        execute_follow_ups(run, dispatched)
        assert delete_at_heights(store, coinbase) == {expected}


# ---- preserve_until


@pytest.mark.parametrize("outputs", [2, 5], ids=["one record", "several"])
def test_what_is_preserved_has_no_delete_at_height_on_any_record_and_gets_none(
    run: Run, store: Store, generate: Generator, outputs: int
) -> None:
    coinbase = matured(run, generate, [1] * outputs)
    execute_follow_ups(run, mine(run, coinbase))
    spend_all(run, generate, coinbase)
    assert delete_at_heights(store, coinbase) == {HEIGHT + RETENTION}
    dispatched = preserve(run, coinbase)
    assert dispatched.results == [True]
    execute_follow_ups(run, dispatched)
    assert delete_at_heights(store, coinbase) == {None}
    assert bins_of(store, coinbase.txid)["preserveUntil"] == HEIGHT + 50
    execute_follow_ups(run, mine(run, coinbase))
    assert delete_at_heights(store, coinbase) == {None}


def test_what_is_missing_is_not_preserved_and_harms_no_other(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1])
    outcomes = run("preserve_until", [[coinbase.txid, 5], [bytes(32), 5], [coinbase.txid, 5]]).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [
        ("OK", None),
        ("TX_NOT_FOUND", "no"),
        ("OK", None),
    ]


def test_children_that_kept_a_delete_at_height_lose_it_when_preserving_is_asked_again(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1] * 5)
    execute_follow_ups(run, mine(run, coinbase))
    spend_all(run, generate, coinbase)
    preserve(run, coinbase)  # its follow-ups are lost
    assert delete_at_heights(store, coinbase) == {None, HEIGHT + RETENTION}
    execute_follow_ups(run, preserve(run, coinbase))
    assert delete_at_heights(store, coinbase) == {None}


# ---- what follows, and what need not


def test_children_that_have_nothing_to_learn_are_owed_nothing(run: Run, generate: Generator) -> None:
    """Else a block with a few huge transactions would fill what may be owed, and hold back all others."""
    coinbase = matured(run, generate, [1] * 5)
    for dispatched in (mine(run, coinbase), chain(run, coinbase, False), chain(run, coinbase, True)):
        assert follow_ups_of(dispatched) == []
    assert follow_ups_of(mine(run, coinbase, flags=UNSET)) == []
    assert follow_ups_of(preserve(run, coinbase)) == []


def test_what_may_have_been_locked_is_unlocked_and_the_answer_waits_for_it(run: Run, generate: Generator) -> None:
    created_locked, locked, mined = (generate.coinbase([1] * 5) for _ in range(3))
    create(run, created_locked, flags=CREATE_LOCKED)
    create(run, locked, mined)
    run("set_locked", [[locked.txid, True]])  # its follow-ups are lost, or late
    mine(run, mined)  # as may be those of another lock, before or after
    for coinbase in (created_locked, locked, mined):
        assert follow_ups_of(mine(run, coinbase)) == ["lock_children"]


@pytest.mark.parametrize("child", [1, 2])
def test_children_of_which_one_was_not_reached_get_their_delete_at_height_when_it_is_asked_again(
    run: Run, store: Store, generate: Generator, child: int
) -> None:
    """The last of them is written last, and tells of all."""
    coinbase = matured(run, generate, [1] * 5)
    spend_all(run, generate, coinbase)
    mine(run, coinbase)
    key = child_key(coinbase.txid, child)

    class Refusing(Wrapped):
        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            return [
                Result(Status.ERROR, key=key)
                if isinstance(operation, Write) and operation.key == key
                else self._inner.batch_operate([operation], budget)[0]
                for operation in record_operations
            ]

    assert dispatch(Refusing(store), "set_dah_children", [[coinbase.txid, 2]]).codes == ["STORE_ERROR"]
    assert len(delete_at_heights(store, coinbase)) == 2
    execute_follow_ups(run, mine(run, coinbase))
    assert delete_at_heights(store, coinbase) == {MINED_AT + RETENTION}
    assert "set_dah_children" not in follow_ups_of(mine(run, coinbase))


# ---- what bars a creation


NAMED = ["freeze", "unfreeze", "reassign"]


@pytest.mark.parametrize("operation", ["set_mined", "mark_longest_chain", "preserve_until", "set_conflicting", *NAMED])
def test_what_bars_a_creation_is_no_transaction_and_stays_as_it_is(store: Store, operation: str) -> None:
    """In a store without groups it stands at the transaction's key."""
    txid, hash_of_one = b"t" * 32, bytes(32)
    item = {
        "set_mined": [txid, BLOCK, MINED_AT, 0, HEIGHT, ON],
        "preserve_until": [txid, HEIGHT],
        "reassign": [txid, 0, hash_of_one, 1, b"", HEIGHT, 1],
        **{name: [txid, 0, hash_of_one] for name in ("freeze", "unfreeze")},
    }.get(operation, [txid, True, HEIGHT])
    bar: dict[str, Any] = {ABANDONED: True}
    store.batch_operate([Write(txid, bar, Mode.CREATE)], 30.0)
    (outcome,) = dispatch(FaultyStore(store, [], atomic=False), operation, [item]).outcomes
    assert (outcome.code, outcome.executed) == ("TX_NOT_FOUND", "no")
    assert bins_of(store, txid) == bar
