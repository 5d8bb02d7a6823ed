"""What each operation does to a real embedded store, item by item."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from dispatching import HEIGHT, RETENTION, Dispatched, dispatch

from protocol import wire
from protocol.operations import CREATE_COINBASE, CREATE_CONFLICTING, CREATE_LOCKED, SPEND_IGNORE_LOCKED
from protocol.wire import ONE_TRANSACTION
from store import Call, Mode, Read, Remove, Result, Status, Store, StoreError, Write
from store.layout import child_key
from store.transaction import Transaction
from utxod.generate import Generator

Run = Callable[..., Dispatched]


def create(run: Run, *transactions: Transaction, height: int = 1, flags: int = 0) -> None:
    assert run("create", [[one.raw, height, [], flags, None] for one in transactions]).results


def bins_of(store: Store, key: bytes) -> dict[str, Any]:
    (result,) = store.batch_operate([Read(key)], 5.0)
    assert result.status is Status.OK
    bins: dict[str, Any] = result.value
    return bins


class Recording:
    """A store that notes what it is asked."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.utxo_batch_size = inner.utxo_batch_size
        self.blobs = inner.blobs
        self.is_atomic = inner.is_atomic
        self.batches: list[list[Any]] = []

    def batch_operate(self, records: Sequence[Any], budget: float) -> list[Result]:
        self.batches.append(list(records))
        return self._inner.batch_operate(records, budget)

    def close(self) -> None:
        self._inner.close()


# ---- get, outpoint


def test_get_leaves_the_large_bins_out_unless_they_are_asked_for(run: Run, generate: Generator) -> None:
    coinbase = generate.coinbase([7, 8])
    create(run, coinbase, height=5)
    whole, some, raw = run("get", [[coinbase.txid, None], [coinbase.txid, ["utxos"]], [coinbase.txid, ["tx"]]]).results
    assert whole["txID"] == coinbase.txid
    assert whole["spendingHeight"] == 105
    assert not {"utxos", "inputs", "outputs"} & whole.keys()
    assert list(some) == ["utxos"]
    assert raw == {"tx": coinbase.raw}


def test_get_of_an_external_transaction_finds_its_raw_form_in_the_blob_store(run: Run, generate: Generator) -> None:
    coinbase = generate.coinbase([1, 2, 3, 4])
    create(run, coinbase)
    (found,) = run("get", [[coinbase.txid, ["external", "tx"]]]).results
    assert found == {"external": True, "tx": coinbase.raw}


@pytest.mark.parametrize(
    "item", [[b"short", None], [bytes(32)], "text", [bytes(32), "txID"], [bytes(32), ["x" * 16]], [bytes(32), [1]]]
)
def test_a_bad_key_is_an_error_for_that_item_alone(run: Run, generate: Generator, item: Any) -> None:
    coinbase = generate.coinbase([1])
    create(run, coinbase)
    outcomes = run("get", [[coinbase.txid, None], item, [bytes(32), None]]).outcomes
    assert [one.code for one in outcomes] == ["OK", "BAD_REQUEST", "TX_NOT_FOUND"]
    assert outcomes[1].executed == "no"


def test_outpoint_reads_each_transaction_of_the_batch_once(store: Store, generate: Generator) -> None:
    coinbases = [generate.coinbase([1, 2]) for _ in range(3)]
    recording = Recording(store)
    dispatch(store, "create", [[one.raw, 1, [], 0, None] for one in coinbases])
    items = [[one.txid, vout] for vout in (0, 1) for one in coinbases]
    results = dispatch(recording, "outpoint", items).results
    assert results == [[*one.outputs[vout]] for vout in (0, 1) for one in coinbases]
    assert [len(batch) for batch in recording.batches] == [3]


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 3, 4]], ids=["in the record", "in the blob store"])
def test_an_output_index_out_of_range_harms_no_other(run: Run, generate: Generator, values: list[int]) -> None:
    coinbase = generate.coinbase(values)
    create(run, coinbase)
    codes = run("outpoint", [[coinbase.txid, 0], [coinbase.txid, 9], [coinbase.txid, -1], [coinbase.txid, 1]]).codes
    assert codes == ["OK", "UTXO_NOT_FOUND", "BAD_REQUEST", "OK"]


def test_an_output_that_a_partial_creation_left_out_is_not_found(run: Run) -> None:
    txid = bytes(range(32))
    item = [None, 1, [], 0, [txid, {1: [5, b"\x51"], 5: [6, b"\x52"]}]]
    (created,) = run("create", [item]).results
    assert created["records"] == 3
    outcomes = run("outpoint", [[txid, 1], [txid, 5], [txid, 0], [txid, 6]]).outcomes
    assert [one.code for one in outcomes] == ["OK", "OK", "UTXO_NOT_FOUND", "UTXO_NOT_FOUND"]
    assert [one.result for one in outcomes[:2]] == [[5, b"\x51"], [6, b"\x52"]]


# ---- create


def test_create_a_second_time_is_tx_exists_and_changes_nothing(run: Run, store: Store, generate: Generator) -> None:
    small, large = generate.coinbase([1]), generate.coinbase([1, 2, 3])
    create(run, small, large)
    before = [bins_of(store, one.txid) for one in (small, large)]
    partial = [None, 1, [], 0, [large.txid, {0: [9, b""], 2: [9, b""]}]]
    outcomes = run("create", [[small.raw, 9, [], 0, None], [large.raw, 9, [], 0, None], partial]).outcomes
    assert [one.code for one in outcomes] == ["TX_EXISTS"] * 3
    assert [bins_of(store, one.txid) for one in (small, large)] == before
    assert store.blobs.get(large.txid) == large.raw


def test_the_same_large_transaction_twice_in_a_batch_is_created_once(run: Run, generate: Generator) -> None:
    large = generate.coinbase([1, 2, 3])
    outcomes = run("create", [[large.raw, 1, [], 0, None]], [[large.raw, 1, [], 0, None]]).outcomes
    assert [one.code for one in outcomes] == ["OK", "CREATING"]
    assert outcomes[1].error is not None
    assert outcomes[1].error.retry_after > 0


def test_create_keeps_mined_infos_and_flags(run: Run, store: Store, generate: Generator) -> None:
    coinbase = generate.coinbase([1, 2, 3])
    run("create", [[coinbase.raw, 7, [[11, 7, 0], [12, 8, 3]], CREATE_LOCKED, None]]).results  # noqa: B018
    master, child = bins_of(store, coinbase.txid), bins_of(store, child_key(coinbase.txid, 1))
    assert (master["blockIDs"], master["blockHeights"], master["subtreeIdxs"]) == ([11, 12], [7, 8], [0, 3])
    assert "unminedSince" not in master
    assert master["locked"] is child["locked"] is True


def test_a_conflicting_creation_is_noted_in_each_parent_that_is_there(
    run: Run, store: Store, generate: Generator
) -> None:
    here, absent = generate.coinbase([1]), generate.coinbase([1])
    create(run, here)
    payment = generate.payment([(here, 0), (absent, 0)])
    create(run, payment, height=50, flags=CREATE_CONFLICTING)
    assert bins_of(store, here.txid)["conflictingCs"] == [payment.txid]
    assert bins_of(store, payment.txid)["deleteAtHeight"] == 50 + RETENTION


@pytest.mark.parametrize(
    "item",
    [
        [None, 1, [], 0, None],
        [b"\x01", 1, [], 0, None],
        [b"\x01", 1, [], 0, [bytes(32), {0: [1, b""]}]],
        [None, 1, [], 0, [bytes(32), {}]],
        [None, 1, [], 0, [bytes(32), {-1: [1, b""]}]],
        [None, 1, [], 0, [bytes(32), {0xFFFFFFFF: [1, b""]}]],
        [None, 1, [], 0, [bytes(32), {0: [-1, b""]}]],
        [None, 1, [[1, 2]], 0, [bytes(32), {0: [1, b""]}]],
        [None, 1, [], 64, [bytes(32), {0: [1, b""]}]],
        [None, -1, [], 0, [bytes(32), {0: [1, b""]}]],
    ],
)
def test_a_creation_that_is_not_what_the_protocol_says_is_refused(run: Run, item: Any) -> None:
    assert run("create", [item]).codes == ["BAD_REQUEST"]


# ---- spend


def matured(run: Run, generate: Generator, values: list[int]) -> Transaction:
    coinbase = generate.coinbase(values)
    create(run, coinbase, height=1)
    return coinbase


def test_a_spend_is_applied_once_and_says_so(run: Run, generate: Generator) -> None:
    spend = [*generate.spend((matured(run, generate, [1]), 0))]
    assert run("spend", [spend]).results == [True]
    assert run("spend", [spend]).results == [False]


def test_a_coin_is_spent_by_the_first_of_two_in_one_batch(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1])
    first, second = [[*generate.spend((coinbase, 0))] for _ in range(2)]
    outcomes = run("spend", [first], [second]).outcomes
    assert [one.code for one in outcomes] == ["OK", "SPENT"]
    assert outcomes[1].error is not None
    assert outcomes[1].error.details == {"spending_txid": first[3], "spending_vin": 0}


def test_spends_of_a_record_are_one_call(store: Store, run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4])
    recording = Recording(store)
    items = [[*generate.spend((coinbase, vout))] for vout in range(4)]
    assert dispatch(recording, "spend", items).results == [True] * 4
    assert [len(batch) for batch in recording.batches] == [2]


def test_a_spend_with_a_bad_parameter_does_not_take_its_record_with_it(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2])
    good, other = [[*generate.spend((coinbase, vout))] for vout in (0, 1)]
    short_hash, negative, frozen = [*other], [*other], [*other]
    short_hash[2] = b"short"
    negative[1] = -1
    frozen[3], frozen[4] = b"\xff" * 32, 0xFFFFFFFF
    codes = run("spend", [good, short_hash, negative, frozen]).codes
    assert codes == ["OK", *["INVALID_PARAMETER"] * 3]


def test_the_last_spend_of_a_child_record_is_counted_downstream(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4])
    dispatched = run("spend", [[*generate.spend((coinbase, vout), height=HEIGHT)] for vout in (2, 3)])
    (owed,) = dispatched.follow_ups
    assert (owed.request, owed.operation, owed.key) == (None, "increment", coinbase.txid)
    assert wire.unpack_body(owed.body, 1) == [[coinbase.txid, 1, HEIGHT]]
    assert run("increment", [[coinbase.txid, 1, HEIGHT]]).results[0][1] == 1


def test_what_is_all_spent_and_mined_gets_its_delete_at_height_on_every_record(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = generate.coinbase([1, 2, 3, 4])
    run("create", [[coinbase.raw, 1, [[1, 1, 0]], 0, None]]).results  # noqa: B018
    items = [[*generate.spend((coinbase, vout), height=HEIGHT)] for vout in range(4)]
    (owed,) = run("spend", items).follow_ups
    ((signal, children),) = run(owed.operation, wire.unpack_body(owed.body, 1)).results
    assert (signal, children) == ("DAHSET", 1)
    for key in (coinbase.txid, child_key(coinbase.txid, 1)):
        assert bins_of(store, key)["deleteAtHeight"] == HEIGHT + RETENTION
    assert store.blobs.delete_at_height(coinbase.txid) == HEIGHT + RETENTION


def test_undoing_a_spend_takes_the_delete_at_height_back(run: Run, store: Store, generate: Generator) -> None:
    coinbase = generate.coinbase([1, 2, 3])
    run("create", [[coinbase.raw, 1, [[1, 1, 0]], 0, None]]).results  # noqa: B018
    spends = [[*generate.spend((coinbase, vout), height=HEIGHT)] for vout in range(3)]
    for follow_up in run("spend", spends).follow_ups:
        run(follow_up.operation, wire.unpack_body(follow_up.body, 1))
    dispatched = run("abandon", [spends[0]])
    assert dispatched.results == [True]
    for follow_up in dispatched.follow_ups:
        assert run(follow_up.operation, wire.unpack_body(follow_up.body, 1)).results == [True]
    for key in (coinbase.txid, child_key(coinbase.txid, 1)):
        assert "deleteAtHeight" not in bins_of(store, key)
    assert store.blobs.delete_at_height(coinbase.txid) is None


def test_signals_of_two_workers_that_come_in_the_other_order_leave_the_children_as_their_master(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = generate.coinbase([1, 2, 3])
    run("create", [[coinbase.raw, 1, [[1, 1, 0]], 0, None]]).results  # noqa: B018
    spends = [[*generate.spend((coinbase, vout), height=HEIGHT)] for vout in range(3)]
    (counted,) = run("spend", spends[2:]).follow_ups
    run(counted.operation, wire.unpack_body(counted.body, 1))
    (made,) = run("spend", spends[:2]).follow_ups
    (undone,) = run("abandon", spends[:1]).follow_ups
    for follow_up in (undone, made):
        assert run(follow_up.operation, wire.unpack_body(follow_up.body, 1)).results == [True]
    for key in (coinbase.txid, child_key(coinbase.txid, 1)):
        assert "deleteAtHeight" not in bins_of(store, key)
    assert store.blobs.delete_at_height(coinbase.txid) is None


def test_a_count_whose_children_are_missing_was_counted_all_the_same(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = generate.coinbase([1, 2, 3])
    run("create", [[coinbase.raw, 1, [[1, 1, 0]], 0, None]]).results  # noqa: B018
    run("spend", [[*generate.spend((coinbase, vout), height=HEIGHT)] for vout in range(3)])
    store.batch_operate([Remove(child_key(coinbase.txid, 1))], 5.0)
    (outcome,) = run("increment", [[coinbase.txid, 1, HEIGHT]]).outcomes
    assert (outcome.code, outcome.executed) == ("TX_NOT_FOUND", "unknown")
    assert bins_of(store, coinbase.txid)["spentExtraRecs"] == 1


# ---- one transaction: all of its spends, or none


def payment_of(generate: Generator, *coins: tuple[Transaction, int]) -> list[list[Any]]:
    payment = generate.payment(coins)
    return [[*generate.spend(coin, payment, vin)] for vin, coin in enumerate(coins)]


def test_a_transaction_that_is_refused_one_spend_keeps_none(run: Run, generate: Generator) -> None:
    free, taken = matured(run, generate, [1, 2, 3]), matured(run, generate, [1])
    rival = [*generate.spend((taken, 0))]
    assert run("spend", [rival]).results == [True]
    spends = payment_of(generate, (free, 0), (taken, 0), (free, 2))
    outcomes = run("spend", spends, flags=ONE_TRANSACTION).outcomes
    assert [(one.code, one.executed) for one in outcomes] == [("SPENT", "no")] * 3
    assert outcomes[1].error is not None
    assert outcomes[1].error.details["spending_txid"] == rival[3]
    assert outcomes[0].error is not None
    assert outcomes[0].error.details == {"because": 1}
    others = [[*generate.spend((free, vout))] for vout in (0, 2)]
    assert run("spend", others).results == [True, True]


def test_an_earlier_acknowledged_spend_is_never_undone(run: Run, generate: Generator) -> None:
    free, taken = matured(run, generate, [1, 2]), matured(run, generate, [1])
    run("spend", [[*generate.spend((taken, 0))]])
    spends = payment_of(generate, (free, 0), (free, 1), (taken, 0))
    assert run("spend", spends[:1]).results == [True]
    assert run("spend", spends, flags=ONE_TRANSACTION).codes == ["SPENT"] * 3
    assert run("spend", spends[:2]).results == [False, True]


def test_a_transaction_with_a_bad_item_touches_nothing(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2])
    spends = payment_of(generate, (coinbase, 0), (coinbase, 1))
    spends[1][2] = b"no hash"
    before = bins_of(store, coinbase.txid)
    assert run("spend", spends, flags=ONE_TRANSACTION).codes == ["INVALID_PARAMETER"] * 2
    assert bins_of(store, coinbase.txid) == before


def test_spends_of_two_transactions_can_not_be_marked_as_one(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2])
    spends = [[*generate.spend((coinbase, vout))] for vout in (0, 1)]
    assert run("spend", spends, flags=ONE_TRANSACTION).codes == ["BAD_REQUEST"] * 2


class UndoingFails(Recording):
    """A store that wedges between the spends and their undoing."""

    def batch_operate(self, records: Sequence[Any], budget: float) -> list[Result]:
        if any(isinstance(record, Call) and record.function == "unspend" for record in records):
            raise StoreError("injected", in_doubt=True)
        return super().batch_operate(records, budget)


def test_where_the_undoing_fails_the_answer_is_unknown_and_lists_the_outpoints(
    run: Run, store: Store, generate: Generator
) -> None:
    free, taken = matured(run, generate, [1, 2]), matured(run, generate, [1])
    run("spend", [[*generate.spend((taken, 0))]])
    spends = payment_of(generate, (free, 1), (taken, 0))
    outcomes = dispatch(UndoingFails(store), "spend", spends, flags=ONE_TRANSACTION).outcomes
    assert [(one.code, one.executed) for one in outcomes] == [("STORE_ERROR", "unknown")] * 2
    assert outcomes[0].error is not None
    assert outcomes[0].error.details == {"outpoints": [[free.txid, 1]]}
    assert run("abandon", spends).results == [True, False]
    assert run("spend", [[*generate.spend((free, 1))]]).results == [True]


# ---- set_locked, children, set_dah


def test_children_are_locked_downstream_and_the_answer_waits_for_them(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    dispatched = run("set_locked", [[bytes(32), True]], [[coinbase.txid, True]])
    assert dispatched.codes == ["TX_NOT_FOUND", "OK"]
    (part,) = dispatched.follow_ups
    assert (part.request, part.item, part.operation, part.items) == (1, 0, "lock_children", 2)
    assert run(part.operation, wire.unpack_body(part.body, 1)).results == [True]
    for index in range(3):
        key = child_key(coinbase.txid, index) if index else coinbase.txid
        assert bins_of(store, key)["locked"] is True
    spend = [*generate.spend((coinbase, 4))]
    assert run("spend", [spend]).codes == ["LOCKED"]
    spend[6] = SPEND_IGNORE_LOCKED
    assert run("spend", [spend]).codes == ["OK"]


def test_a_child_that_is_missing_is_an_error(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    store.batch_operate([Remove(child_key(coinbase.txid, 2))], 5.0)
    assert run("lock_children", [[coinbase.txid, 2, True]]).codes == ["TX_NOT_FOUND"]
    assert run("set_dah_children", [[coinbase.txid, 2]]).codes == ["TX_NOT_FOUND"]


def test_set_dah_makes_no_new_record(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3])
    codes = run("set_dah", [[coinbase.txid, 0, 77], [coinbase.txid, 1, 78], [coinbase.txid, 2, 79]]).codes
    assert codes == ["OK", "OK", "TX_NOT_FOUND"]
    assert bins_of(store, child_key(coinbase.txid, 1))["deleteAtHeight"] == 78
    assert run("set_dah", [[coinbase.txid, 1, 0]]).results == [True]
    assert "deleteAtHeight" not in bins_of(store, child_key(coinbase.txid, 1))


def test_increment_beyond_the_number_of_children_is_refused(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3])
    codes = run("increment", [[coinbase.txid, 2, 9], [coinbase.txid, -1, 9], [coinbase.txid, 1, 9]]).codes
    assert codes == ["INVALID_PARAMETER", "INVALID_PARAMETER", "OK"]


# ---- the batch


def test_an_item_that_expired_is_not_executed(store: Store, generate: Generator) -> None:
    from protocol.dispatch import Part
    from workers.batch import Batch
    from workers.execution import Executor
    from workers.operations import OPERATIONS

    coinbase = generate.coinbase([1])
    body = wire.pack_body([[coinbase.raw, 1, [], 0, None]])
    batch = Batch([Part(deadline=1_000, items=1, flags=0)], [body], now=1_000)
    Executor(OPERATIONS, store, budget=5.0, retention=RETENTION).run("create", batch)
    header = wire.unpack_reply_header(batch.replies()[0])
    assert header.error is not None
    assert (header.error.code, header.error.executed) == ("DEADLINE_EXCEEDED", "no")
    assert store.batch_operate([Read(coinbase.txid)], 5.0)[0].status is Status.NOT_FOUND


def test_a_request_that_is_not_what_its_header_says_harms_no_other(generate: Generator, store: Store) -> None:
    from protocol.dispatch import Part
    from workers.batch import Batch

    bodies = [wire.pack_body([1, 2]), b"\xc1", wire.pack_body({}), wire.pack_body([[bytes(32), None]])]
    batch = Batch([Part(1 << 62, 1, 0)] * 4, bodies, now=0)
    assert [request.error.code if request.error else None for request in batch.requests] == ["BAD_REQUEST"] * 3 + [None]
    assert batch.items == [[bytes(32), None]]


def test_a_read_that_is_dispatched_again_alone_is_the_only_one_executed(generate: Generator) -> None:
    from protocol.dispatch import Part
    from workers.batch import Batch

    batch = Batch([Part(1 << 62, 1, 0, only=2)], [wire.pack_body(["a", "b", "c", "d"])], now=0)
    assert batch.items == ["c"]


def test_a_write_that_is_conditional_takes_effect_where_the_condition_holds(store: Store) -> None:
    key = bytes(32)
    store.batch_operate([Write(key, {"token": b"mine"}, Mode.CREATE)], 5.0)
    theirs, mine = store.batch_operate([Remove(key, {"token": b"x"}), Remove(key, {"token": b"mine"})], 5.0)
    assert (theirs.status, mine.status) == (Status.CONDITION_FALSE, Status.OK)


def test_a_partial_coinbase_is_immature_like_a_whole_one(run: Run) -> None:
    txid = bytes(range(32))
    run("create", [[None, 500, [], CREATE_COINBASE, [txid, {0: [5, b"\x51"]}]]]).results  # noqa: B018
    (found,) = run("get", [[txid, ["spendingHeight", "isCoinbase"]]]).results
    assert found == {"spendingHeight": 600, "isCoinbase": True}
