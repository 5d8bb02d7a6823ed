"""Creation under a lock: by creators that die at any step, and by two at once. Against either store; the embedded one
is used as if its batches were not atomic."""

import itertools
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from protocol.item_flags import CREATE_CONFLICTING, CREATE_LOCKED
from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Store, StoreError, Write, open_store
from store.layout import Partial, child_key, lock_key
from store.lmdb.store import EmbeddedStore
from store.transaction import Transaction
from tests.support.aerospike_server import SERVER, SET, empty, server_url
from tests.support.dispatching import Dispatched, dispatch, record_of
from tests.support.wrapped import Wrapped
from utxod.generate import Generator

RECORDS = 3


class Died(BaseException):
    """The creator's process is gone."""


class Stepwise(Wrapped):
    """Does the records of a batch one by one; after so many of them the process dies."""

    is_atomic = False

    def __init__(self, inner: Store, *, dies_after: int = 1 << 30) -> None:
        super().__init__(inner)
        self._left = dies_after

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        results = []
        for operation in record_operations:
            if self._left == 0:
                raise Died
            self._left -= 1
            results += self._inner.batch_operate([operation], budget)
        return results


@pytest.fixture
def large(generate: Generator) -> Transaction:
    return generate.coinbase([1, 2, 3, 4, 5])


def create(store: Any, *items: Any) -> Dispatched:
    return dispatch(store, "create", list(items))


def whole(transaction: Transaction, flags: int = 0) -> list[Any]:
    return [transaction.raw, 1, [], flags, None]


def partial(transaction: Transaction, *vouts: int) -> list[Any]:
    outputs = {vout: list(transaction.outputs[vout]) for vout in vouts}
    return [None, 1, [], 0, [transaction.txid, outputs]]


def keys_of(transaction: Transaction) -> list[bytes]:
    return [transaction.txid, *(child_key(transaction.txid, n) for n in range(1, RECORDS))]


def is_complete(store: Store, transaction: Transaction) -> bool:
    records = [record_of(store, key) for key in keys_of(transaction)]
    utxos = [utxo for record in records for utxo in record["utxos"]]
    assert len(utxos) == len(transaction.outputs)
    assert None not in utxos
    return not any("creating" in record for record in records) and record_of(store, lock_key(transaction.txid)) is None


def expire_lock(store: Store, txid: bytes) -> None:
    store.batch_operate([Remove(lock_key(txid))], 30)


def test_a_creation_leaves_neither_lock_nor_mark(store: Store, large: Transaction) -> None:
    assert create(Stepwise(store), whole(large)).results[0]["records"] == RECORDS
    assert is_complete(store, large)
    assert create(Stepwise(store), whole(large)).codes == ["TX_EXISTS"]


@pytest.mark.parametrize("kind", ["whole", "partial"])
def test_a_creator_may_die_at_each_step_and_the_next_one_finishes(store: Store, generate: Generator, kind: str) -> None:
    for steps in itertools.count():
        large = generate.coinbase([1, 2, 3, 4, 5])
        item = whole(large) if kind == "whole" else partial(large, 0, 1, 2, 3, 4)
        try:
            create(Stepwise(store, dies_after=steps), item)
        except Died:
            pass
        else:
            break
        was_created = record_of(store, large.txid) is not None
        is_locked = record_of(store, lock_key(large.txid)) is not None
        if is_locked:
            held = create(Stepwise(store), item)
            assert (held.codes, held.outcomes[0].executed) == (["CREATING"], "no")
            assert held.outcomes[0].error is not None
            assert held.outcomes[0].error.retry_after > 0
            expire_lock(store, large.txid)
        assert create(Stepwise(store), item).codes == ["TX_EXISTS" if was_created else "OK"]
        assert is_complete(store, large)
    assert steps > 2 * RECORDS


def test_a_mark_is_never_off_a_master_while_a_child_is_missing_or_marked(store: Store, generate: Generator) -> None:
    for steps in itertools.count():
        large = generate.coinbase([1, 2, 3, 4, 5])
        try:
            create(Stepwise(store, dies_after=steps), whole(large))
        except Died:
            master, *children = [record_of(store, key) for key in keys_of(large)]
            if master is not None:
                assert None not in children
                assert "creating" in master or not any("creating" in child for child in children)
        else:
            break


def test_what_a_dead_creator_left_without_a_master_is_replaced(store: Store, large: Transaction) -> None:
    """A partial creation of other outputs died before its master: its children must not become the whole's."""
    with pytest.raises(Died):
        create(Stepwise(store, dies_after=2 + 2 * (RECORDS - 1)), partial(large, 0, 4))
    assert record_of(store, large.txid) is None
    assert record_of(store, child_key(large.txid, 1))["recordUtxos"] == 0
    expire_lock(store, large.txid)
    assert create(Stepwise(store), whole(large)).codes == ["OK"]
    assert is_complete(store, large)
    assert store.blobs.get(large.txid) == large.raw


def test_a_lock_that_is_held_is_not_released_by_another(store: Store, large: Transaction) -> None:
    store.batch_operate([Write(lock_key(large.txid), {"token": b"theirs"}, Mode.CREATE, ttl=60)], 30)
    assert create(Stepwise(store), whole(large)).codes == ["CREATING"]
    assert record_of(store, lock_key(large.txid)) == {"token": b"theirs"}
    assert record_of(store, large.txid) is None


def test_twice_in_one_batch_is_created_once(store: Store, large: Transaction, generate: Generator) -> None:
    other = generate.coinbase([1])
    dispatched = create(Stepwise(store), whole(large), whole(other), whole(large))
    assert dispatched.codes == ["OK", "OK", "CREATING"]
    assert is_complete(store, large)


def test_flags_of_the_first_creator_reach_the_children_that_it_did_not_write(store: Store, large: Transaction) -> None:
    """As a program may leave it that writes the master first."""
    flagged = whole(large, CREATE_LOCKED | CREATE_CONFLICTING)
    assert create(Stepwise(store), flagged).codes == ["OK"]
    child = child_key(large.txid, 2)
    store.batch_operate([Remove(child), Write(large.txid, {"creating": True}, Mode.UPDATE)], 30)
    assert create(Stepwise(store), whole(large)).codes == ["TX_EXISTS"]
    assert is_complete(store, large)
    assert (record_of(store, child)["locked"], record_of(store, child)["conflicting"]) == (True, True)


def test_nothing_is_spent_while_it_is_created(store: Store, large: Transaction) -> None:
    died = 0
    for steps in range(20):
        try:
            create(Stepwise(store, dies_after=steps), whole(large))
            break
        except Died:
            died += 1
            master = record_of(store, large.txid)
            if master and "creating" in master:
                spend = {"idx": 0, "offset": 0, "utxoHash": master["utxos"][0], "spendingData": b"s" * 36}
                (result,) = store.batch_operate(
                    [RuleCall(large.txid, "spendMulti", ([spend], False, False, 200, 288))], 30
                )
                assert result.value["errorCode"] == "CREATING"
                break
            expire_lock(store, large.txid)
    assert died


@pytest.mark.aerospike
@pytest.mark.skipif(not SERVER, reason="UTXOD_TEST_AEROSPIKE names no server")
def test_of_many_creators_at_once_one_creates(tmp_path: Path, generate: Generator) -> None:
    creators = [open_store(server_url(utxo_batch_size=2, blobs=tmp_path)) for _ in range(4)]
    try:
        with ThreadPoolExecutor(len(creators)) as pool:
            for _ in range(50):
                large = generate.coinbase([1, 2, 3, 4, 5])
                attempts = pool.map(create, creators, [whole(large)] * len(creators))
                codes = Counter(code for attempt in attempts for code in attempt.codes)
                assert codes["OK"] == 1
                assert codes["OK"] + codes["TX_EXISTS"] + codes["CREATING"] == len(creators)
                assert is_complete(creators[0], large)
    finally:
        for creator in creators:
            creator.close()
        empty(SET)


class Failing(Stepwise):
    """The n-th batch fails as a whole, in doubt or not."""

    def __init__(self, inner: Store, batch: int, *, in_doubt: bool) -> None:
        super().__init__(inner)
        self._batch = batch
        self._in_doubt = in_doubt
        self.failed = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        self._batch -= 1
        if self._batch == -1:
            self.failed = True
            if self._in_doubt:
                super().batch_operate(record_operations, budget)
            raise StoreError("injected", in_doubt=self._in_doubt)
        return super().batch_operate(record_operations, budget)


@pytest.mark.parametrize("in_doubt", [False, True])
def test_no_is_said_only_where_nothing_was_written(store: Store, generate: Generator, in_doubt: bool) -> None:
    for batch in itertools.count():
        large = generate.coinbase([1, 2, 3, 4, 5])
        failing = Failing(store, batch, in_doubt=in_doubt)
        (outcome,) = create(failing, whole(large)).outcomes
        if not failing.failed:
            assert outcome.code == "OK"
            break
        assert outcome.code == "STORE_ERROR"
        if outcome.executed == "no":
            assert [record_of(store, key) for key in keys_of(large)] == [None] * RECORDS
        expire_lock(store, large.txid)
        assert create(Stepwise(store), whole(large)).codes[0] in ("OK", "TX_EXISTS")
        assert is_complete(store, large)


def test_a_transaction_too_big_for_its_record_moves_to_the_blob_store(tmp_path: Path, generate: Generator) -> None:
    store = EmbeddedStore(tmp_path, sync=False, max_record_bytes=800)
    small, big = generate.coinbase([1]), generate.coinbase([1] * 8)
    assert create(store, whole(small), whole(big)).codes == ["OK", "OK"]
    assert "external" not in record_of(store, small.txid)
    assert record_of(store, big.txid)["external"] is True
    assert not {"inputs", "outputs"} & record_of(store, big.txid).keys()
    assert store.blobs.get(big.txid) == big.raw
    assert create(store, whole(big)).codes == ["TX_EXISTS"]
    store.close()


@pytest.mark.parametrize("fewer", [[0], [0, 2]], ids=["of one record", "of several"])
def test_a_creation_is_finished_with_all_its_children_by_whoever_asks(
    store: Store, generate: Generator, fewer: list[int]
) -> None:
    """The one who asks knows of fewer outputs than the one who began: no child stays marked for ever."""
    for steps in itertools.count():
        large = generate.coinbase([1, 2, 3, 4, 5])
        try:
            create(Stepwise(store, dies_after=steps), partial(large, 0, 1, 2, 3, 4))
            break
        except Died:
            master = record_of(store, large.txid)
        if master is None:
            continue
        expire_lock(store, large.txid)
        assert create(Stepwise(store), partial(large, *fewer)).codes == ["TX_EXISTS"]
        assert is_complete(store, large)
    assert steps > 2 * RECORDS


@pytest.fixture(params=["as one whole", "record by record"])
def any_way(store: Store, request: pytest.FixtureRequest) -> Any:
    if request.param == "as one whole" and not store.is_atomic:
        pytest.skip("this store takes record by record")
    return store if request.param == "as one whole" else Stepwise(store)


@pytest.mark.parametrize("kind", ["whole", "partial"])
def test_children_of_an_earlier_life_refuse_a_creation_and_nothing_is_written(
    any_way: Any, store: Store, large: Transaction, kind: str
) -> None:
    assert create(any_way, whole(large)).codes == ["OK"]
    store.batch_operate([Remove(large.txid)], 30)
    store.blobs.delete(large.txid)
    before = [record_of(store, key) for key in keys_of(large)]
    for _ in range(2):
        item = whole(large) if kind == "whole" else partial(large, 0, 4)
        (outcome,) = create(any_way, item).outcomes
        assert (outcome.code, outcome.executed) == ("LEFTOVER", "no")
        assert outcome.error is not None
        left = keys_of(large)[1:]
        assert outcome.error.details["keys"][0] == left[0]
        assert f"utxod leftovers {large.txid[::-1].hex()} --remove" in outcome.error.message
        assert [record_of(store, key) for key in keys_of(large)] == before
    store.batch_operate([Remove(key) for key in left], 30)
    assert create(any_way, whole(large)).codes == ["OK"]
    assert is_complete(store, large)


def test_a_conflicting_creation_asked_again_is_noted_in_its_parents(
    any_way: Any, store: Store, generate: Generator
) -> None:
    """Its first answer was `unknown`: the worker had died between the creation and the notes."""
    for outputs in (1, 5):
        parent = generate.coinbase([1])
        payment = generate.payment([(parent, 0)], outputs)
        assert create(any_way, whole(parent), whole(payment, CREATE_CONFLICTING)).codes == ["OK", "OK"]
        store.batch_operate([Write(parent.txid, {"conflictingCs": None}, Mode.UPDATE)], 30)
        assert create(any_way, whole(payment, CREATE_CONFLICTING)).codes == ["TX_EXISTS"]
        assert record_of(store, parent.txid)["conflictingCs"] == [payment.txid]


def test_one_that_is_there_and_not_conflicting_is_noted_nowhere(store: Store, generate: Generator) -> None:
    parent = generate.coinbase([1])
    payment = generate.payment([(parent, 0)])
    assert create(store, whole(parent), whole(payment)).codes == ["OK", "OK"]
    assert create(store, whole(payment, CREATE_CONFLICTING)).codes == ["TX_EXISTS"]
    assert "conflictingCs" not in record_of(store, parent.txid)


def test_a_whole_blob_is_never_replaced_by_a_partial_one(any_way: Any, store: Store, large: Transaction) -> None:
    """Not even where nobody sees the master that it belongs to."""
    assert create(any_way, whole(large)).codes == ["OK"]
    assert create(any_way, partial(large, 0, 1, 2, 3, 4)).codes == ["TX_EXISTS"]
    assert store.blobs.get(large.txid) == large.raw
    store.batch_operate([Remove(key) for key in keys_of(large)], 30)
    assert create(any_way, partial(large, 0, 4)).codes == ["OK"]
    assert store.blobs.get(large.txid) == large.raw


def test_asking_for_a_whole_transaction_again_brings_its_lost_blob_back(
    any_way: Any, store: Store, large: Transaction
) -> None:
    assert create(any_way, whole(large)).codes == ["OK"]
    store.blobs.delete(large.txid)
    assert create(any_way, whole(large)).codes == ["TX_EXISTS"]
    assert store.blobs.get(large.txid) == large.raw


def test_a_blob_that_another_attempt_left_gives_way_once_the_transaction_is_created(
    any_way: Any, store: Store, large: Transaction
) -> None:
    source = Partial(large.txid, {0: large.outputs[0], 4: large.outputs[4]})
    assert store.blobs.put_new(source)
    assert create(any_way, whole(large)).codes == ["OK"]
    assert store.blobs.get(large.txid) == large.raw


def test_what_replaces_a_dead_creators_children_keeps_nothing_of_them(store: Store, large: Transaction) -> None:
    """A conflicting creation of a coinbase at another height died: neither its mark nor its heights live on."""
    with pytest.raises(Died):
        create(Stepwise(store, dies_after=2 + 2 * (RECORDS - 1)), [large.raw, 100, [], CREATE_CONFLICTING, None])
    assert "deleteAtHeight" in record_of(store, child_key(large.txid, 1))
    expire_lock(store, large.txid)
    assert create(Stepwise(store), partial(large, 0, 1, 2, 3, 4)).codes == ["OK"]
    for key in keys_of(large)[1:]:
        bins = record_of(store, key)
        assert not {"deleteAtHeight", "spendingHeight", "version", "fee"} & bins.keys()
        assert (bins["conflicting"], bins["isCoinbase"]) == (False, False)


def test_a_conflicting_attempt_does_not_mark_the_missing_child_of_a_plain_transaction(
    store: Store, large: Transaction
) -> None:
    assert create(Stepwise(store), whole(large)).codes == ["OK"]
    child = child_key(large.txid, 2)
    store.batch_operate([Remove(child), Write(large.txid, {"creating": True}, Mode.UPDATE)], 30)
    assert create(Stepwise(store), whole(large, CREATE_CONFLICTING)).codes == ["TX_EXISTS"]
    assert record_of(store, child)["conflicting"] is False
    assert "deleteAtHeight" not in record_of(store, child)


class Refusing(Stepwise):
    """Gives no answer to a read of the bins that tell what is left to be done."""

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if any(
            isinstance(operation, Read) and "conflicting" in (operation.bins or ()) for operation in record_operations
        ):
            raise StoreError("injected", in_doubt=False, status=Status.UNAVAILABLE)
        return super().batch_operate(record_operations, budget)


def test_a_transaction_whose_rest_cannot_be_looked_at_is_a_fault_and_not_the_last_word(
    store: Store, generate: Generator
) -> None:
    """TX_EXISTS would end the asking, and a conflicting one would never be noted in its parents."""
    parent = generate.coinbase([1])
    payment = generate.payment([(parent, 0)])
    other = generate.coinbase([1])
    assert create(store, whole(parent), whole(payment, CREATE_CONFLICTING)).codes == ["OK", "OK"]
    outcomes = create(Refusing(store), whole(payment, CREATE_CONFLICTING), whole(other)).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("UNAVAILABLE", "no"), ("OK", None)]
