"""What get, outpoint, create, spend and set_dah do to a real store, item by item."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol import wire
from protocol.item_flags import CREATE_COINBASE, CREATE_CONFLICTING, CREATE_LOCKED
from protocol.worker_wire import Assignment
from store import Mode, Read, Remove, Status, Store, Write
from store.interface import is_read_only
from store.layout import child_key
from tests.support.dispatching import RETENTION, Dispatched, bins_of, create, dispatch, matured
from tests.support.wrapped import Recording
from utxod.generate import Generator
from workers.runtime.batch import Batch
from workers.runtime.executor import Executor
from workers.runtime.item_shape import Shape
from workers.runtime.operations import OPERATION_BY_NAME

TXID = bytes(range(32))
Run = Callable[..., Dispatched]


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
    assert [outcome.code for outcome in outcomes] == ["OK", "BAD_REQUEST", "TX_NOT_FOUND"]
    assert outcomes[1].executed == "no"


def test_outpoint_reads_each_transaction_of_the_batch_once(store: Store, generate: Generator) -> None:
    coinbases = [generate.coinbase([1, 2]) for _ in range(3)]
    recording = Recording(store)
    dispatch(store, "create", [[coinbase.raw, 1, [], 0, None] for coinbase in coinbases])
    items = [[coinbase.txid, vout] for vout in (0, 1) for coinbase in coinbases]
    results = dispatch(recording, "outpoint", items).results
    assert results == [[*coinbase.outputs[vout]] for vout in (0, 1) for coinbase in coinbases]
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
    assert [outcome.code for outcome in outcomes] == ["OK", "OK", "UTXO_NOT_FOUND", "UTXO_NOT_FOUND"]
    assert [outcome.result for outcome in outcomes[:2]] == [[5, b"\x51"], [6, b"\x52"]]


# ---- create


def test_create_a_second_time_is_tx_exists_and_changes_nothing(run: Run, store: Store, generate: Generator) -> None:
    small, large = generate.coinbase([1]), generate.coinbase([1, 2, 3])
    create(run, small, large)
    before = [bins_of(store, transaction.txid) for transaction in (small, large)]
    partial = [None, 1, [], 0, [large.txid, {0: [9, b""], 2: [9, b""]}]]
    outcomes = run("create", [[small.raw, 9, [], 0, None], [large.raw, 9, [], 0, None], partial]).outcomes
    assert [outcome.code for outcome in outcomes] == ["TX_EXISTS"] * 3
    assert [bins_of(store, transaction.txid) for transaction in (small, large)] == before
    assert store.blobs.get(large.txid) == large.raw


def test_the_same_large_transaction_twice_in_a_batch_is_created_once(run: Run, generate: Generator) -> None:
    large = generate.coinbase([1, 2, 3])
    outcomes = run("create", [[large.raw, 1, [], 0, None]], [[large.raw, 1, [], 0, None]]).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "CREATING"]
    assert outcomes[1].error is not None
    assert outcomes[1].error.retry_after > 0


def test_create_keeps_mined_infos_and_flags(run: Run, store: Store, generate: Generator) -> None:
    coinbase = generate.coinbase([1, 2, 3])
    run("create", [[coinbase.raw, 7, [[11, 7, 0], [12, 7, 3]], CREATE_LOCKED, None]]).results  # noqa: B018
    master, child = bins_of(store, coinbase.txid), bins_of(store, child_key(coinbase.txid, 1))
    assert (master["blockIDs"], master["blockHeights"], master["subtreeIdxs"]) == ([11, 12], [7, 7], [0, 3])
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


def test_a_spend_is_applied_once_and_says_so(run: Run, generate: Generator) -> None:
    spend = [*generate.spend((matured(run, generate, [1]), 0))]
    assert run("spend", [spend]).results == [True]
    assert run("spend", [spend]).results == [False]


def test_a_coin_is_spent_by_the_first_of_two_in_one_batch(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1])
    first, second = [[*generate.spend((coinbase, 0))] for _ in range(2)]
    outcomes = run("spend", [first], [second]).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "SPENT"]
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


def test_requests_that_wait_together_are_committed_together(store: Store, run: Run, generate: Generator) -> None:
    """One batch of the store, which is one commit, for what many have asked."""
    coinbases = [matured(run, generate, [1]) for _ in range(3)]
    recording = Recording(store)
    spends = [[[*generate.spend((coinbase, 0))]] for coinbase in coinbases]
    assert dispatch(recording, "spend", *spends).results == [True] * 3
    created = [[[generate.coinbase([1]).raw, 1, [], 0, None]] for _ in range(3)]
    assert set(dispatch(recording, "create", *created).codes) == {"OK"}
    writes = [batch for batch in recording.batches if not is_read_only(batch)]
    assert [len(batch) for batch in writes] == [3, 3]


# ---- set_dah


def test_set_dah_makes_no_new_record(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3])
    codes = run("set_dah", [[coinbase.txid, 0, 77], [coinbase.txid, 1, 78], [coinbase.txid, 2, 79]]).codes
    assert codes == ["OK", "OK", "TX_NOT_FOUND"]
    assert bins_of(store, child_key(coinbase.txid, 1))["deleteAtHeight"] == 78
    assert run("set_dah", [[coinbase.txid, 1, 0]]).results == [True]
    assert "deleteAtHeight" not in bins_of(store, child_key(coinbase.txid, 1))


# ---- the batch


def test_an_item_that_expired_is_not_executed(store: Store, generate: Generator) -> None:
    coinbase = generate.coinbase([1])
    body = wire.pack_body([[coinbase.raw, 1, [], 0, None]])
    batch = Batch([Assignment(deadline=1_000, item_count=1, flags=0)], [body], 1_000, None)
    Executor(OPERATION_BY_NAME, store, budget=5.0, retention=RETENTION).run("create", batch)
    header = wire.unpack_reply_header(batch.replies()[0])
    assert header.error is not None
    assert (header.error.code, header.error.executed) == ("DEADLINE_EXCEEDED", "no")
    assert store.batch_operate([Read(coinbase.txid)], 30.0)[0].status is Status.NOT_FOUND


@pytest.mark.parametrize("shape", [None, OPERATION_BY_NAME["get"].shape], ids=["item by item", "compiled"])
def test_a_request_that_is_not_what_its_header_says_harms_no_other(shape: Shape | None) -> None:
    good = [TXID, None]
    bodies = [wire.pack_body([good, good]), b"\xc1", wire.pack_body({}), wire.pack_body([good])]
    batch = Batch([Assignment(1 << 62, 1, 0)] * 4, bodies, 0, shape)
    assert [request.error.code if request.error else None for request in batch.requests] == ["BAD_REQUEST"] * 3 + [None]
    assert [[*item] for item in batch.items] == [good]


@pytest.mark.parametrize("neighbours", [[bytes(32), None], "no item"], ids=["good neighbours", "bad neighbours"])
@pytest.mark.parametrize("shape", [None, OPERATION_BY_NAME["get"].shape], ids=["item by item", "compiled"])
def test_a_read_that_is_dispatched_again_alone_is_the_only_one_executed(shape: Shape | None, neighbours: Any) -> None:
    body = wire.pack_body([neighbours, neighbours, [TXID, ["fee"]], neighbours])
    batch = Batch([Assignment(1 << 62, 1, 0, only=2)], [body], 0, shape)
    assert [[*item] for item in batch.items] == [[TXID, ["fee"]]]
    assert batch.bad_items == {}
    beyond = Batch([Assignment(1 << 62, 1, 0, only=4)], [body], 0, shape)
    assert beyond.requests[0].error is not None


def test_a_write_that_is_conditional_takes_effect_where_the_condition_holds(store: Store) -> None:
    key = bytes(32)
    store.batch_operate([Write(key, {"token": b"mine"}, Mode.CREATE)], 30.0)
    theirs, mine = store.batch_operate([Remove(key, {"token": b"x"}), Remove(key, {"token": b"mine"})], 30.0)
    assert (theirs.status, mine.status) == (Status.CONDITION_FALSE, Status.OK)


def test_a_partial_coinbase_is_immature_like_a_whole_one(run: Run) -> None:
    txid = bytes(range(32))
    run("create", [[None, 500, [], CREATE_COINBASE, [txid, {0: [5, b"\x51"]}]]]).results  # noqa: B018
    (found,) = run("get", [[txid, ["spendingHeight", "isCoinbase"]]]).results
    assert found == {"spendingHeight": 600, "isCoinbase": True}
