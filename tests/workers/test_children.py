"""What follows from work on child records: what their master hears of them, their locks, their delete-at-height. In any
order, lost or twice, and asked for again."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from protocol import wire
from protocol.item_flags import SPEND_IGNORE_LOCKED
from protocol.worker_wire import FollowUp
from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Store, Write
from store.layout import child_key
from store.transaction import Transaction
from tests.support.dispatching import (
    HEIGHT,
    RETENTION,
    Dispatched,
    Run,
    bins_of,
    dispatch,
    execute_follow_ups,
    matured,
)
from tests.support.wrapped import Wrapped
from utxod.generate import Generator


def mined(run: Run, generate: Generator, outputs: int) -> Transaction:
    coinbase = generate.coinbase([1] * outputs)
    run("create", [[coinbase.raw, 1, [[1, 1, 0]], 0, None]]).results  # noqa: B018
    return coinbase


def spends_of(generate: Generator, coinbase: Transaction, *vouts: int) -> list[list[Any]]:
    return [[*generate.spend((coinbase, vout), height=HEIGHT)] for vout in vouts]


def told(follow_up: FollowUp) -> Any:
    assert (follow_up.request_index, follow_up.operation) == (None, "note_child")
    (item,) = wire.unpack_body(follow_up.body, 1)
    return item


def delete_at_heights(store: Store, coinbase: Transaction) -> list[int | None]:
    records = (len(coinbase.outputs) + 1) // 2
    keys = [coinbase.txid, *(child_key(coinbase.txid, child) for child in range(1, records))]
    return [bins_of(store, key).get("deleteAtHeight") for key in keys]


def test_the_last_spend_of_a_child_record_is_told_to_its_master(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4])
    first, last = spends_of(generate, coinbase, 2, 3)
    assert run("spend", [first]).follow_ups == []
    dispatched = run("spend", [last])
    (owed,) = dispatched.follow_ups
    assert owed.key == coinbase.txid
    assert told(owed) == [coinbase.txid, [[1, 1]], HEIGHT]
    assert execute_follow_ups(run, dispatched) == [True]
    assert bins_of(store, coinbase.txid)["spentExtraRecs"] == 1


def test_what_children_of_one_master_tell_in_a_dispatch_is_one_note(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1] * 7)
    (owed,) = run("spend", spends_of(generate, coinbase, 2, 3, 4, 5, 6)).follow_ups
    assert told(owed) == [coinbase.txid, [[1, 1], [2, 1], [3, 1]], HEIGHT]


def test_a_note_of_a_transaction_that_is_gone_is_done(run: Run) -> None:
    assert run("note_child", [[bytes(32), [[1, 1]], HEIGHT]]).results == [True]


def test_what_is_all_spent_and_mined_gets_its_delete_at_height_on_every_record(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = mined(run, generate, 4)
    execute_follow_ups(run, run("spend", spends_of(generate, coinbase, 0, 1, 2, 3)))
    assert delete_at_heights(store, coinbase) == [HEIGHT + RETENTION] * 2


def test_undoing_a_spend_takes_the_delete_at_height_back(run: Run, store: Store, generate: Generator) -> None:
    coinbase = mined(run, generate, 3)
    spends = spends_of(generate, coinbase, 0, 1, 2)
    execute_follow_ups(run, run("spend", spends))
    for undone in (spends[0], spends[2]):
        dispatched = run("unspend", [undone])
        assert dispatched.results == [True]
        execute_follow_ups(run, dispatched)
        assert delete_at_heights(store, coinbase) == [None] * 2
        execute_follow_ups(run, run("spend", [undone]))
        assert delete_at_heights(store, coinbase) == [HEIGHT + RETENTION] * 2


def test_all_orders_losses_and_doublings_of_the_notes_of_a_history_give_the_same_master(
    run: Run, store: Store, generate: Generator
) -> None:
    """Nothing is counted twice, or in the wrong order; what is lost comes with the next word of that child."""
    for copies in itertools.product((0, 1, 2), (0, 1, 2), (1, 2)):
        coinbase = mined(run, generate, 3)
        (last,) = spends_of(generate, coinbase, 2)
        history = [told(run(operation, [last]).follow_ups[0]) for operation in ("spend", "unspend", "spend")]
        notes = [note for note, times in zip(history, copies, strict=True) for _ in range(times)]
        for order in set(itertools.permutations(range(len(notes)))) if len(notes) < 5 else [range(len(notes))[::-1]]:
            for place in order:
                assert run("note_child", [notes[place]]).results == [True]
            assert bins_of(store, coinbase.txid)["spentExtraRecs"] == 1


def test_asking_again_tells_the_master_again_what_it_may_not_have_heard(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = mined(run, generate, 3)
    spends = spends_of(generate, coinbase, 0, 1, 2)
    run("spend", spends)  # the worker dies: nobody hears of it
    assert bins_of(store, coinbase.txid)["spentExtraRecs"] == 0
    again = run("spend", spends[2:])
    assert again.results == [False]
    execute_follow_ups(run, again)
    assert bins_of(store, coinbase.txid)["spentExtraRecs"] == 1
    assert delete_at_heights(store, coinbase) == [HEIGHT + RETENTION] * 2
    run("unspend", spends[2:])
    again = run("unspend", spends[2:])
    assert again.results == [False]
    execute_follow_ups(run, again)
    assert delete_at_heights(store, coinbase) == [None] * 2


def forget(store: Store, txid: bytes, spent: int = 0) -> None:
    """As a program leaves the master that does not know of childStates."""
    store.batch_operate([Write(txid, {"childStates": None, "spentExtraRecs": spent}, Mode.UPDATE)], 30.0)


def test_a_master_that_does_not_know_its_children_has_them_recounted(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = mined(run, generate, 7)
    execute_follow_ups(run, run("spend", spends_of(generate, coinbase, 2, 3)))
    forget(store, coinbase.txid, spent=3)
    execute_follow_ups(run, run("spend", spends_of(generate, coinbase, 4, 5)))
    master = bins_of(store, coinbase.txid)
    assert (master["spentExtraRecs"], master["childStates"]) == (2, b"\1\0\1\0\0\0")


def test_a_counter_that_another_program_wrote_is_recounted(run: Run, store: Store, generate: Generator) -> None:
    coinbase = mined(run, generate, 7)
    store.batch_operate([Write(coinbase.txid, {"spentExtraRecs": 2}, Mode.UPDATE)], 30.0)
    execute_follow_ups(run, run("spend", spends_of(generate, coinbase, 2, 3)))
    assert bins_of(store, coinbase.txid)["spentExtraRecs"] == 1


class Dies(BaseException):
    """The worker's process is gone."""


class DiesBefore(Wrapped):
    """Its process dies before the first call of a rule."""

    def __init__(self, inner: Store, function: str) -> None:
        super().__init__(inner)
        self._function = function

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if any(
            isinstance(operation, RuleCall) and operation.function == self._function for operation in record_operations
        ):
            raise Dies
        return self._inner.batch_operate(record_operations, budget)


def test_a_recount_that_is_lost_is_asked_for_by_the_next_note(run: Run, store: Store, generate: Generator) -> None:
    """And meanwhile the transaction is not taken for done, though a counter of before says so."""
    coinbase = mined(run, generate, 5)
    spends = spends_of(generate, coinbase, 0, 1, 2, 3, 4)
    execute_follow_ups(run, run("spend", spends))
    assert delete_at_heights(store, coinbase)[0] == HEIGHT + RETENTION
    forget(store, coinbase.txid, spent=2)
    (undone,) = run("unspend", spends[4:]).follow_ups
    with pytest.raises(Dies):
        dispatch(DiesBefore(store, "tellState"), undone.operation, wire.unpack_body(undone.body, 1))
    assert delete_at_heights(store, coinbase)[0] is None
    execute_follow_ups(run, run("spend", spends[2:3]))
    master = bins_of(store, coinbase.txid)
    assert (master["spentExtraRecs"], "deleteAtHeight" in master) == (1, False)


@pytest.mark.parametrize("asked", ["unspend", "increment"])
def test_asking_again_reaches_children_that_kept_a_delete_at_height(
    run: Run, store: Store, generate: Generator, asked: str
) -> None:
    """The worker died between the master and its child: a child with a live coin, marked as due."""
    coinbase = mined(run, generate, 3)
    spends = spends_of(generate, coinbase, 0, 1, 2)
    execute_follow_ups(run, run("spend", spends))
    (note,) = run("unspend", spends[2:]).follow_ups
    store.batch_operate([RuleCall(coinbase.txid, "noteChild", (told(note)[1], HEIGHT, RETENTION))], 30.0)
    assert delete_at_heights(store, coinbase) == [None, HEIGHT + RETENTION]
    if asked == "unspend":
        execute_follow_ups(run, run("unspend", spends[2:]))
    else:
        run("increment", [[coinbase.txid, 0, HEIGHT]]).results  # noqa: B018
    assert delete_at_heights(store, coinbase) == [None, None]


def test_increment_asks_the_children_and_may_be_asked_again(run: Run, store: Store, generate: Generator) -> None:
    coinbase = mined(run, generate, 3)
    run("spend", spends_of(generate, coinbase, 0, 1, 2))  # the note is lost
    for _ in range(2):
        ((_, children),) = run("increment", [[coinbase.txid, 1, HEIGHT]]).results
        assert children == 1
        assert bins_of(store, coinbase.txid)["spentExtraRecs"] == 1
        assert delete_at_heights(store, coinbase) == [HEIGHT + RETENTION] * 2


def test_increment_of_a_master_that_another_program_wrote_is_believed_within_bounds(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1, 2, 3])
    forget(store, coinbase.txid)
    codes = run("increment", [[coinbase.txid, 2, 9], [coinbase.txid, -1, 9], [coinbase.txid, 1, 9]]).codes
    assert codes == ["INVALID_PARAMETER", "INVALID_PARAMETER", "OK"]


@pytest.mark.parametrize("operation", ["note_child", "set_dah_children", "lock_children", "increment"])
def test_a_child_that_is_missing_is_a_fault_and_not_the_absence_of_the_transaction(
    run: Run, store: Store, generate: Generator, operation: str
) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    if operation == "note_child":
        forget(store, coinbase.txid)
    store.batch_operate([Remove(child_key(coinbase.txid, 2))], 30.0)
    item = {
        "note_child": [coinbase.txid, [[1, 1]], HEIGHT],
        "set_dah_children": [coinbase.txid, 2],
        "lock_children": [coinbase.txid, 2, True, 1],
        "increment": [coinbase.txid, 1, HEIGHT],
    }[operation]
    (outcome,) = run(operation, [item]).outcomes
    assert outcome.code == "STORE_ERROR"
    assert outcome.error is not None
    assert "child record 2 is missing" in outcome.error.message


class ChangesMeanwhile(Wrapped):
    """The master's delete-at-height changes while the children's are written, once."""

    def __init__(self, inner: Store, txid: bytes, height: int) -> None:
        super().__init__(inner)
        self._change: Write | None = Write(txid, {"deleteAtHeight": height}, Mode.UPDATE)

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        results = self._inner.batch_operate(record_operations, budget)
        if self._change is not None and isinstance(record_operations[0], Write):
            self._inner.batch_operate([self._change], budget)
            self._change = None
        return results


def test_children_get_the_delete_at_height_that_their_master_has_in_the_end(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    run("set_dah", [[coinbase.txid, 0, 500]])
    assert dispatch(ChangesMeanwhile(store, coinbase.txid, 777), "set_dah_children", [[coinbase.txid, 2]]).results == [
        True
    ]
    assert delete_at_heights(store, coinbase) == [777] * 3


# ---- locks


def lock(run: Run, coinbase: Transaction, value: bool) -> Dispatched:
    return run("set_locked", [[coinbase.txid, value]])


def locks(store: Store, coinbase: Transaction) -> list[bool]:
    records = (len(coinbase.outputs) + 1) // 2
    keys = [coinbase.txid, *(child_key(coinbase.txid, child) for child in range(1, records))]
    return [bins_of(store, key)["locked"] for key in keys]


def test_children_are_locked_downstream_and_the_answer_waits_for_them(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    dispatched = run("set_locked", [[bytes(32), True]], [[coinbase.txid, True]])
    assert dispatched.codes == ["TX_NOT_FOUND", "OK"]
    (awaited,) = dispatched.follow_ups
    assert (awaited.request_index, awaited.item_index, awaited.operation, awaited.weight) == (1, 0, "lock_children", 2)
    assert execute_follow_ups(run, dispatched) == [True]
    assert locks(store, coinbase) == [True] * 3
    spend = [*generate.spend((coinbase, 4))]
    assert run("spend", [spend]).codes == ["LOCKED"]
    spend[6] = SPEND_IGNORE_LOCKED
    assert run("spend", [spend]).codes == ["OK"]


def test_locks_of_two_daemons_end_as_the_masters_did_in_whatever_order_they_arrive(
    run: Run, store: Store, generate: Generator
) -> None:
    for values in itertools.product((True, False), repeat=3):
        for order in itertools.permutations(range(3)):
            coinbase = matured(run, generate, [1, 2, 3, 4, 5])
            calls = [lock(run, coinbase, value) for value in values]
            for place in order:
                assert execute_follow_ups(run, calls[place]) == [True]
            assert locks(store, coinbase) == [values[-1]] * 3


def test_unlocking_a_finished_transaction_brings_its_delete_at_height_back(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = mined(run, generate, 3)
    execute_follow_ups(run, run("spend", spends_of(generate, coinbase, 0, 1, 2)))
    execute_follow_ups(run, lock(run, coinbase, True))
    assert delete_at_heights(store, coinbase) == [None] * 2
    execute_follow_ups(run, lock(run, coinbase, False))
    assert delete_at_heights(store, coinbase) == [HEIGHT + RETENTION] * 2


def test_a_transaction_of_data_alone_is_done_at_birth(run: Run, store: Store, generate: Generator) -> None:
    """One record or several: nothing will ever be spent that could mark it."""
    txids = [bytes([number]) * 32 for number in range(2)]
    data = [1, b"\x00\x6adata"]
    partials = [[txids[0], {0: data}], [txids[1], dict.fromkeys(range(5), data)]]
    run("create", [[None, 700_000, [[9, 700_000, 0]], 0, partial] for partial in partials]).results  # noqa: B018
    keys = [txids[0], txids[1], child_key(txids[1], 1), child_key(txids[1], 2)]
    found = store.batch_operate([Read(key, ("deleteAtHeight",)) for key in keys], 30.0)
    assert [result.value for result in found] == [{"deleteAtHeight": 700_000 + RETENTION}] * 4


def test_a_child_record_without_a_coin_counts_as_spent_from_the_start(
    run: Run, store: Store, generate: Generator
) -> None:
    txid = b"d" * 32
    outputs = {0: [1, b"\x51"], 1: [1, b"\x51"], 2: [1, b"\x00\x6a"], 3: [1, b"\x00\x6a"], 4: [1, b"\x51"]}
    create_item = [None, 700_000, [[9, 700_000, 0]], 0, [txid, outputs]]
    run("create", [create_item]).results  # noqa: B018
    master = bins_of(store, txid)
    assert (master["spentExtraRecs"], master["childStates"]) == (1, b"\1\0\0\0")
