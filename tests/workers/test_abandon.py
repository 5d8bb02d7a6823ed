"""abandon: all that a transaction holds which never came to be, and nothing of one that did; whatever comes between its
steps, and in a store whose batches are one whole as in one that takes record by record."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from protocol.item_flags import CREATE_CONFLICTING, CREATE_LOCKED, MINED_ON_LONGEST_CHAIN, MINED_UNSET
from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Store, StoreError, Write
from store.faulty import FaultyStore
from store.layout import ABANDONED, child_key
from store.transaction import Transaction
from tests.support.accepting import payment as payment_of
from tests.support.dispatching import (
    HEIGHT,
    RETENTION,
    Dispatched,
    Outcome,
    Run,
    Wrapped,
    bins_of,
    create,
    dispatch,
    execute_follow_ups,
    matured,
    output_of,
)
from utxod.generate import Generator
from workers.runtime.abandoning import abandonment
from workers.runtime.operations import abandon

Act = Callable[[], object]


@pytest.fixture(params=["as one whole", "record by record"])
def store(store: Store, request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "as one whole":
        if not store.is_atomic:
            pytest.skip("this store takes record by record")
        yield store
    else:
        yield FaultyStore(store, [], atomic=False)


class Payment:
    """A transaction that spends three coins, one of them in a child record, and is not in the set."""

    def __init__(self, run: Run, store: Store, generate: Generator) -> None:
        self._run, self._store = run, store
        self.sources = [matured(run, generate, [1, 2, 3, 4]), matured(run, generate, [5])]
        self.coins = [(self.sources[0], 0), (self.sources[0], 3), (self.sources[1], 0)]
        self.transaction: Transaction = generate.payment(self.coins)
        self.spends = [[*generate.spend(coin, self.transaction, vin)] for vin, coin in enumerate(self.coins)]
        assert run("spend", self.spends).results == [True] * 3

    @property
    def txid(self) -> bytes:
        return self.transaction.txid

    @property
    def outpoints(self) -> list[list[Any]]:
        return [[source.txid, vout] for source, vout in self.coins]

    @property
    def item(self) -> list[Any]:
        return [self.txid, self.outpoints, HEIGHT]

    def abandon(self) -> Dispatched:
        return self._run("abandon", [self.item])

    def create(self, flags: int = 0) -> None:
        create(self._run, self.transaction, flags=flags)

    def holds(self) -> list[bool]:
        size = self._store.utxo_batch_size
        found = []
        for source, vout in self.coins:
            key = source.txid if vout < size else child_key(source.txid, vout // size)
            found.append(bins_of(self._store, key)["utxos"][vout % size][32:64] == self.txid)
        return found


@pytest.fixture
def payment(run: Run, store: Store, generate: Generator) -> Payment:
    return Payment(run, store, generate)


def told(outcome: Outcome) -> tuple[str, str | None]:
    return outcome.code, outcome.executed


def record_of(store: Store, key: bytes) -> Any:
    (result,) = store.batch_operate([Read(key)], 5.0)
    return result.value if result.status is Status.OK else None


# ---- what is given back, and what is not


def test_all_that_it_holds_is_given_back_once(run: Run, generate: Generator, payment: Payment) -> None:
    assert payment.abandon().results == [[True, True, True]]
    assert payment.holds() == [False] * 3
    assert payment.abandon().results == [[False, False, False]]
    rivals = [[*generate.spend(coin)] for coin in payment.coins]
    assert run("spend", rivals).results == [True] * 3


def test_what_another_holds_or_nobody_is_not_given_back(
    run: Run, store: Store, generate: Generator, payment: Payment
) -> None:
    """Nor what is frozen, what is no UTXO, and what is not in the set at all."""
    free, taken, frozen = (matured(run, generate, [1, 2]) for _ in range(3))
    rival = [*generate.spend((taken, 0))]
    assert run("spend", [rival]).results == [True]
    assert run("freeze", [output_of(frozen, 0)]).results
    script = b"\x00\x6a"
    partial = [None, HEIGHT, [], 0, [bytes(32), {0: [0, script]}]]
    assert run("create", [partial]).results
    strangers = [[free.txid, 0], [taken.txid, 0], [frozen.txid, 0], [bytes(32), 0], [b"\x11" * 32, 3], [free.txid, 9]]
    outpoints = [strangers[0], payment.outpoints[1], *strangers[1:]]
    assert run("abandon", [[payment.txid, outpoints, HEIGHT]]).results == [[False, True, *[False] * 5]]
    assert payment.holds() == [True, False, True]
    assert bins_of(store, taken.txid)["utxos"][0][32:64] == rival[3]


def test_the_mark_of_a_frozen_output_is_no_spender(run: Run, generate: Generator) -> None:
    frozen = matured(run, generate, [1])
    assert run("freeze", [output_of(frozen, 0)]).results
    assert run("abandon", [[b"\xff" * 32, [[frozen.txid, 0]], HEIGHT]]).results == [[False]]


def test_a_transaction_that_is_in_the_set_keeps_its_inputs(store: Store, payment: Payment) -> None:
    payment.create()
    before = bins_of(store, payment.txid)
    assert [told(outcome) for outcome in payment.abandon().outcomes] == [("SPENDER_EXISTS", "no")]
    assert payment.holds() == [True] * 3
    assert bins_of(store, payment.txid) == before


def test_a_transaction_that_is_being_created_keeps_its_inputs(store: Store, payment: Payment) -> None:
    payment.create()
    store.batch_operate([Write(payment.txid, {"creating": True}, Mode.UPDATE)], 5.0)
    assert payment.abandon().codes == ["SPENDER_EXISTS"]
    assert payment.holds() == [True] * 3


@pytest.mark.parametrize("flags", [CREATE_CONFLICTING, CREATE_CONFLICTING | CREATE_LOCKED])
def test_a_conflicting_transaction_gives_back_and_stays_as_it_was(store: Store, payment: Payment, flags: int) -> None:
    """Above all its locks: whoever locks it meanwhile is not undone."""
    payment.create(flags)
    before = bins_of(store, payment.txid)
    assert payment.abandon().results == [[True, True, True]]
    assert bins_of(store, payment.txid) == before


def test_a_transaction_that_was_pruned_keeps_its_inputs(run: Run, store: Store, payment: Payment) -> None:
    """Whatever of it is asked for: one mark says that it was there."""
    marked = payment.coins[2][0].txid
    store.batch_operate([RuleCall(marked, "addDeletedChildren", ([[0, payment.txid]],))], 5.0)
    assert [told(outcome) for outcome in payment.abandon().outcomes] == [("INVALID_SPEND", "no")]
    assert payment.holds() == [True] * 3
    assert run("get", [[payment.txid, None]]).codes == ["TX_NOT_FOUND"]


def test_a_missing_child_record_is_a_fault_and_nothing_is_given_back(run: Run, store: Store, payment: Payment) -> None:
    store.batch_operate([Remove(child_key(payment.coins[1][0].txid, 1))], 5.0)
    assert [told(outcome) for outcome in payment.abandon().outcomes] == [("STORE_ERROR", "no")]
    assert bins_of(store, payment.coins[0][0].txid)["utxos"][0][32:64] == payment.txid
    assert run("get", [[payment.txid, None]]).codes == ["TX_NOT_FOUND"]


@pytest.mark.parametrize("value", [{"utxos": "none"}, {"deletedChildren": [1]}, {"utxos": None}])
def test_a_record_that_can_not_be_read_is_a_fault(
    store: Store, generate: Generator, payment: Payment, value: dict[str, Any]
) -> None:
    class Damaged(Wrapped):
        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            results = self._inner.batch_operate(record_operations, budget)
            if isinstance(record_operations[0], Read) and "utxos" in (record_operations[0].bins or ()):
                results[0] = Result(Status.OK, {**results[0].value, **value}, key=record_operations[0].key)
            return list(results)

    (outcome,) = dispatch(Damaged(store), "abandon", [payment.item]).outcomes
    assert told(outcome) == ("INTERNAL", "unknown")
    assert payment.holds() == [True] * 3


def test_items_of_one_spender_and_an_outpoint_twice_are_each_answered_for_themselves(
    run: Run, payment: Payment
) -> None:
    first, second, third = payment.outpoints
    items = [[payment.txid, [first, second, first], HEIGHT], [payment.txid, [second, third], HEIGHT]]
    assert run("abandon", items).results == [[True, True, False], [False, True]]


def test_a_bad_fate_of_one_item_is_not_the_others(run: Run, store: Store, generate: Generator) -> None:
    lost, there, good = (Payment(run, store, generate) for _ in range(3))
    there.create()
    store.batch_operate([Remove(child_key(lost.coins[1][0].txid, 1))], 5.0)
    codes = run("abandon", [lost.item, there.item, [], good.item]).codes
    assert codes == ["STORE_ERROR", "SPENDER_EXISTS", "BAD_REQUEST", "OK"]
    assert good.holds() == [False] * 3


def test_a_master_hears_of_the_children_that_hold_a_live_coin_again(
    run: Run, store: Store, generate: Generator, payment: Payment
) -> None:
    source = payment.sources[0]
    execute_follow_ups(run, run("spend", [[*generate.spend((source, 2))], payment.spends[1]]))
    assert bins_of(store, source.txid)["spentExtraRecs"] == 1
    execute_follow_ups(run, payment.abandon())
    assert bins_of(store, source.txid)["spentExtraRecs"] == 0


# ---- what comes between


class Between(Wrapped):
    """A store where something happens once before a batch that has such an operation."""

    def __init__(self, inner: Store, is_it: Callable[[RecordOperation], bool], act: Act) -> None:
        super().__init__(inner)
        self._is_it, self._act = is_it, act
        self.acted = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if not self.acted and any(map(self._is_it, record_operations)):
            self.acted = True
            self._act()
        return list(self._inner.batch_operate(record_operations, budget))


def test_what_is_mined_on_the_longest_chain_keeps_its_inputs_though_it_is_conflicting(
    run: Run, payment: Payment
) -> None:
    """A contradiction that nobody resolves by taking its inputs away."""
    payment.create(CREATE_CONFLICTING)
    assert run("set_mined", [[payment.txid, 7, HEIGHT, 0, HEIGHT, MINED_ON_LONGEST_CHAIN]]).results == [[7]]
    assert [told(outcome) for outcome in payment.abandon().outcomes] == [("SPENDER_MINED", "no")]
    assert payment.holds() == [True] * 3
    assert run("set_mined", [[payment.txid, 7, HEIGHT, 0, HEIGHT, MINED_UNSET]]).results == [[]]
    assert payment.abandon().results == [[True] * 3]


def is_unspend(operation: RecordOperation) -> bool:
    return isinstance(operation, RuleCall) and operation.function == "unspend"


def bars(operation: RecordOperation) -> bool:
    return isinstance(operation, Write) and ABANDONED in operation.bins


@pytest.mark.parametrize("flags", [0, CREATE_CONFLICTING])
def test_a_transaction_that_comes_meanwhile_keeps_its_inputs(store: Store, payment: Payment, flags: int) -> None:
    """Unless it is conflicting; as what it is found to be, so it is treated."""
    between = Between(store, bars, lambda: payment.create(flags))
    codes = dispatch(between, "abandon", [payment.item]).codes
    assert between.acted
    assert codes == (["OK"] if flags else ["SPENDER_EXISTS"])
    assert payment.holds() == [not flags] * 3


def test_what_a_rival_has_got_meanwhile_is_his(run: Run, store: Store, generate: Generator, payment: Payment) -> None:
    rival = [*generate.spend(payment.coins[0])]

    def lose() -> None:
        assert run("unspend", payment.spends[:1]).results == [True]
        assert run("spend", [rival]).results == [True]

    between = Between(store, is_unspend, lose)
    assert dispatch(between, "abandon", [payment.item]).results == [[False, True, True]]
    assert bins_of(store, rival[0])["utxos"][0][32:64] == rival[3]


def looks_at_spender(operation: RecordOperation) -> bool:
    return isinstance(operation, Read) and operation.bins is not None and "conflicting" in operation.bins


def last_guarded(store: Store) -> Callable[[RecordOperation], bool]:
    """Before what the giving back is held to: the group, or the look at the spender."""
    return is_unspend if store.is_atomic else looks_at_spender


def test_a_conflicting_transaction_that_is_none_meanwhile_keeps_its_inputs(store: Store, payment: Payment) -> None:
    payment.create(CREATE_CONFLICTING)
    call = RuleCall(payment.txid, "setConflicting", (False, HEIGHT, RETENTION))
    between = Between(store, last_guarded(store), lambda: store.batch_operate([call], 5.0))
    assert dispatch(between, "abandon", [payment.item]).codes == ["SPENDER_EXISTS"]
    assert payment.holds() == [True] * 3


def test_a_conflicting_transaction_that_goes_meanwhile_is_abandoned_all_the_same(
    store: Store, payment: Payment
) -> None:
    payment.create(CREATE_CONFLICTING)
    between = Between(store, last_guarded(store), lambda: store.batch_operate([Remove(payment.txid)], 5.0))
    assert dispatch(between, "abandon", [payment.item]).results == [[True] * 3]
    assert payment.holds() == [False] * 3


@pytest.mark.parametrize("spent_before", [0, 1, 3], ids=["nothing was given back", "one was", "all were"])
def test_what_is_pruned_and_accepted_anew_meanwhile_keeps_its_inputs(
    run: Run, store: Store, payment: Payment, spent_before: int
) -> None:
    """Whatever of the giving back was done by then, `spent_before` of its steps; the rest lands late."""
    payment.create(CREATE_CONFLICTING)

    def prune_and_accept() -> None:
        run("unspend", payment.spends)
        store.batch_operate([Remove(payment.txid)], 5.0)
        assert run("spend", payment.spends).results == [True] * 3
        payment.create()

    class InTheMiddle(Wrapped):
        acted = False

        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            if self.acted or not any(map(is_unspend, record_operations)):
                return list(self._inner.batch_operate(record_operations, budget))
            self.acted = True
            first = 0 if store.is_atomic else spent_before
            done = self._inner.batch_operate(record_operations[:first], budget) if first else []
            prune_and_accept()
            rest = record_operations[first:]
            return [*done, *(self._inner.batch_operate(rest, budget) if rest else [])]

    (outcome,) = dispatch(InTheMiddle(store), "abandon", [payment.item]).outcomes
    assert payment.holds() == [True] * 3
    if store.is_atomic or spent_before == 0:
        assert told(outcome) == ("SPENDER_EXISTS", "no")
    elif spent_before == 3:
        assert told(outcome) == ("OK", None)
    else:
        assert told(outcome) == ("SPENDER_EXISTS", "unknown")
        assert outcome.error is not None
        assert outcome.error.details == {"outpoints": payment.outpoints[1:]}


def test_what_is_spent_before_its_creation_is_barred_is_given_back(run: Run, store: Store, generate: Generator) -> None:
    """By an accept, say, whose worker then dies: that it is not held would be untrue for good."""
    coin = matured(run, generate, [1]), 0
    transaction = payment_of(generate, coin)

    def spend() -> None:
        assert run("spend", [[*generate.spend(coin, transaction, 0)]]).results == [True]

    between = Between(store, bars, spend)
    item = [transaction.txid, [[coin[0].txid, 0]], HEIGHT]
    (result,) = dispatch(between, "abandon", [item]).results
    if store.is_atomic:  # there no accept spends without coming to be: it was asked before
        assert run("abandon", [item]).results == [[True]]
    else:
        assert result == [True]
    assert bins_of(store, coin[0].txid)["utxos"][0][32:64] == b""


# ---- its creation is barred


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
        assert told(outcome) == ("ABANDONED", "no")
        assert outcome.error is not None
        assert outcome.error.retry_after == 1000
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

    def creates(operation: RecordOperation) -> bool:
        return isinstance(operation, Write) and operation.key == transaction.txid

    between = Between(store, creates, lambda: run("abandon", [item]))
    (outcome,) = dispatch(between, "accept", [ways_in(transaction)["accept"]]).outcomes
    assert between.acted
    spenders = [utxo[32:64] for utxo in bins_of(store, source.txid)["utxos"]]
    if store.is_atomic:
        assert (outcome.code, spenders) == ("OK", [transaction.txid] * 2)
    else:
        assert outcome.code in ("ABANDONED", "STORE_ERROR")
        assert spenders == [b"", b""]
        assert run("get", [[transaction.txid, None]]).codes == ["TX_NOT_FOUND"]


class Recording(Wrapped):
    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.writes: list[Write] = []

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        self.writes += [operation for operation in record_operations if isinstance(operation, Write)]
        return list(self._inner.batch_operate(record_operations, budget))


def test_it_is_barred_longer_than_a_dispatch_and_its_last_call_can_last(store: Store, payment: Payment) -> None:
    if store.is_atomic:
        pytest.skip("there it stands for one batch")
    for budget, grace in ((5.0, 0.0), (30.0, 300.0), (0.4, 0.2)):
        recording = Recording(store)
        assert dispatch(recording, "abandon", [payment.item], budget=budget, grace=grace).codes == ["OK"]
        (write,) = recording.writes
        assert write.ttl is not None
        assert budget + grace + budget + 1 < write.ttl < budget + grace + budget + 4


# ---- faults, and asking again


class Killed(BaseException):
    pass


class Dying(Wrapped):
    """A store whose caller dies with its `number`-th batch: before it, or after it."""

    def __init__(self, inner: Store, number: int, *, after: bool) -> None:
        super().__init__(inner)
        self._left, self._after = number, after

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        results = self._inner.batch_operate(record_operations, budget)
        if self._left == 0:
            raise Killed
        return list(results)


def kill(store: Store, payment: Payment, number: int, *, after: bool) -> bool:
    """Whether there was such a batch."""
    try:
        dispatch(Dying(store, number, after=after), "abandon", [payment.item])
    except Killed:
        return True
    return False


@pytest.mark.parametrize("flags", [None, CREATE_CONFLICTING], ids=["never created", "conflicting"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_worker_that_dies_at_any_call_leaves_what_asking_again_completes(
    run: Run, store: Store, generate: Generator, after: bool, flags: int | None
) -> None:
    number = 1
    while True:
        payment = Payment(run, store, generate)
        if flags is not None:
            payment.create(flags)
        if not kill(store, payment, number, after=after):
            break
        assert not store.is_atomic or len(set(payment.holds())) == 1
        (result,) = payment.abandon().results
        assert payment.holds() == [False] * 3
        assert payment.abandon().results == [[False] * 3]
        assert len(set(result)) == 1
        number += 1
    assert number > 2


def test_where_one_output_can_not_be_given_back_the_answer_is_unknown_and_lists_it(
    run: Run, store: Store, payment: Payment
) -> None:
    class Refusing(Wrapped):
        """The second of the calls is not done."""

        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            fails = [number for number, operation in enumerate(record_operations) if is_unspend(operation)][1:2]
            faulty = FaultyStore(self._inner, [{"kind": "fail", "index": index} for index in fails])
            return list(faulty.batch_operate(record_operations, budget))

    (outcome,) = dispatch(Refusing(store), "abandon", [payment.item]).outcomes
    assert outcome.error is not None
    if store.is_atomic:
        assert told(outcome) == ("STORE_ERROR", "no")
        assert payment.holds() == [True] * 3
    else:
        assert told(outcome) == ("STORE_ERROR", "unknown")
        assert outcome.error.details == {"outpoints": payment.outpoints[1:2]}
        assert payment.holds() == [False, True, False]
    assert payment.abandon().codes == ["OK"]
    assert payment.holds() == [False] * 3


def test_a_batch_in_doubt_is_unknown_and_lists_all_that_may_stand(run: Run, store: Store, payment: Payment) -> None:
    doubtful = FaultyStore(store, [{"kind": "raise_after", "function": "unspend"}], atomic=store.is_atomic)
    (outcome,) = dispatch(doubtful, "abandon", [payment.item]).outcomes
    assert told(outcome) == ("STORE_ERROR", "unknown")
    assert outcome.error is not None
    assert outcome.error.details == {"outpoints": payment.outpoints}
    assert payment.abandon().results == [[False] * 3]


@pytest.mark.parametrize("after", ["bars", "reads", "looks"])
def test_what_is_unknown_lists_its_outpoints_whichever_call_fails(store: Store, payment: Payment, after: str) -> None:
    if store.is_atomic:
        pytest.skip("there it is one call")
    payment.create(CREATE_CONFLICTING)
    number = ("bars", "reads", "looks").index(after)

    class Failing(Wrapped):
        calls = 0

        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            self.calls += 1
            if self.calls == number + 1:
                raise StoreError("injected", in_doubt=True)
            return list(self._inner.batch_operate(record_operations, budget))

    (outcome,) = dispatch(Failing(store), "abandon", [payment.item]).outcomes
    assert told(outcome) == ("STORE_ERROR", "unknown")
    assert outcome.error is not None
    assert outcome.error.details == {"outpoints": payment.outpoints}


# ---- as many as there may be


class Counting(Wrapped):
    """A store that notes how many records each call has."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.sizes: list[int] = []

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        self.sizes.append(len(record_operations))
        return list(self._inner.batch_operate(record_operations, budget))


def test_many_outpoints_are_taken_in_parts_and_answered_as_ever(
    run: Run, store: Store, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandon, "MAX_OUTPOINTS", 4)
    monkeypatch.setattr(abandonment, "_AT_ONCE", 2)
    strangers = [[bytes([number]) * 32, 0] for number in range(3)]
    items = [
        [payment.txid, [*payment.outpoints[:1], *strangers], HEIGHT],
        [],
        payment.item,
        [payment.txid, strangers, 1],
    ]
    counting = Counting(store)
    outcomes = dispatch(counting, "abandon", items).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "BAD_REQUEST", "OK", "OK"]
    assert outcomes[0].result == [True, False, False, False]
    assert [outcomes[2].result, outcomes[3].result] == [[False, True, True], [False] * 3]
    assert max(counting.sizes) <= 5


def test_an_abandon_out_of_time_looks_at_no_more(
    run: Run, store: Store, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items that were not begun are answered `no`, whatever was done for those before them."""
    monkeypatch.setattr(abandon, "MAX_OUTPOINTS", 3)
    looked = 0
    parts = abandon._abandonment

    def count(*item: Any) -> Any:
        nonlocal looked
        looked += 1
        return parts(*item)

    def use_up(context: Any, abandonments: Any) -> None:
        give_back(context, abandonments)
        context._deadline = 0.0

    name = "give_back_at_once" if store.is_atomic else "give_back_by_record"
    give_back = getattr(abandon, name)
    monkeypatch.setattr(abandon, name, use_up)
    monkeypatch.setattr(abandon, "_abandonment", count)
    outcomes = run("abandon", [payment.item] * 3).outcomes
    assert [told(outcome) for outcome in outcomes] == [("OK", None), *[("STORE_ERROR", "no")] * 2]
    assert looked == 1
