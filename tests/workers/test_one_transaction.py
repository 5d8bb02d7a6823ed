"""All of a transaction's spends, or none (P12): in a store whose batches are one whole, and in one that takes record by
record. What is acknowledged stands, and what is left is named."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from protocol.item_flags import CREATE_LOCKED
from protocol.wire import ONE_TRANSACTION
from store import Read, RecordOperation, Remove, Result, RuleCall, Store, StoreError
from store.faulty import FaultyStore
from store.layout import child_key
from store.transaction import Transaction
from tests.support.dispatching import HEIGHT, Dispatched, Outcome, Run, bins_of, create, dispatch, matured
from tests.support.wrapped import Wrapped
from utxod.generate import Generator


@pytest.fixture(params=["as one whole", "record by record"])
def store(store: Store, request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "as one whole":
        if not store.is_atomic:
            pytest.skip("this store takes record by record")
        yield store
    else:
        yield FaultyStore(store, [], atomic=False)


def payment_of(generate: Generator, *coins: tuple[Transaction, int]) -> list[list[Any]]:
    payment = generate.payment(coins)
    return [[*generate.spend(coin, payment, vin, height=HEIGHT)] for vin, coin in enumerate(coins)]


def at(spends: Sequence[Sequence[Any]], height: int) -> list[list[Any]]:
    return [[*spend[:5], height, spend[6]] for spend in spends]


def whole(run: Run, *requests: Sequence[Any]) -> Dispatched:
    return run("spend", *requests, flags=ONE_TRANSACTION)


def details(outcome: Outcome) -> Any:
    assert outcome.error is not None
    return outcome.error.details


def is_spent_by(store: Store, spend: Sequence[Any]) -> bool:
    utxo = bins_of(store, spend[0])["utxos"][spend[1]]
    return bool(utxo[32:64] == spend[3])


def test_a_transaction_that_is_refused_one_spend_keeps_none(run: Run, generate: Generator) -> None:
    free, taken = matured(run, generate, [1, 2, 3]), matured(run, generate, [1])
    rival = [*generate.spend((taken, 0))]
    assert run("spend", [rival]).results == [True]
    spends = payment_of(generate, (free, 0), (taken, 0), (free, 2))
    outcomes = whole(run, spends).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("SPENT", "no")] * 3
    where = {"because": 1, "outpoint": [taken.txid, 0]}
    assert details(outcomes[1]) == {**where, "spending_txid": rival[3], "spending_vin": 0}
    assert details(outcomes[0]) == details(outcomes[2]) == where
    others = [[*generate.spend((free, vout))] for vout in (0, 2)]
    assert run("spend", others).results == [True, True]


def test_one_input_that_is_not_there_is_named(run: Run, generate: Generator) -> None:
    free = matured(run, generate, [1])
    absent = generate.coinbase([1])
    outcomes = whole(run, payment_of(generate, (free, 0), (absent, 0))).outcomes
    assert [outcome.code for outcome in outcomes] == ["TX_NOT_FOUND"] * 2
    assert details(outcomes[0]) == {"because": 1, "outpoint": [absent.txid, 0]}
    assert run("spend", [[*generate.spend((free, 0))]]).results == [True]


def test_an_earlier_acknowledged_spend_is_never_undone_and_is_named(run: Run, generate: Generator) -> None:
    free, taken = matured(run, generate, [1, 2]), matured(run, generate, [1])
    run("spend", [[*generate.spend((taken, 0))]])
    spends = payment_of(generate, (free, 0), (free, 1), (taken, 0))
    assert run("spend", spends[:1]).results == [True]
    for _ in range(2):
        outcomes = whole(run, spends).outcomes
        assert [outcome.code for outcome in outcomes] == ["SPENT"] * 3
        assert details(outcomes[2])["held"] == [[free.txid, 0]]
        assert "held" not in details(outcomes[0])
    assert run("spend", spends[:2]).results == [False, True]


def test_of_two_attempts_in_one_dispatch_the_refused_one_takes_nothing_from_the_other(
    run: Run, store: Store, generate: Generator
) -> None:
    """One transaction, judged at two heights: its second input is a coinbase that matures in between."""
    free, young = matured(run, generate, [1]), generate.coinbase([1])
    create(run, young, height=100)
    spends = payment_of(generate, (free, 0), (young, 0))
    low, high = at(spends, 199), at(spends, 200)
    dispatched = whole(run, low, high)
    assert dispatched.codes == ["COINBASE_IMMATURE"] * 2 + ["OK"] * 2
    assert details(dispatched.outcomes[0])["outpoint"] == [young.txid, 0]
    assert all(is_spent_by(store, spend) for spend in spends)
    # And the other way round, in other dispatches.
    assert whole(run, low).codes == ["COINBASE_IMMATURE"] * 2
    assert all(is_spent_by(store, spend) for spend in spends)
    assert whole(run, high).results == [False, False]


@pytest.mark.parametrize("alone_first", [True, False])
def test_a_plain_spend_that_was_answered_stands(run: Run, store: Store, generate: Generator, alone_first: bool) -> None:
    """Also where it was answered false, because the whole transaction had the coin a moment before."""
    free, young = matured(run, generate, [1]), generate.coinbase([1])
    create(run, young, height=100)
    spends = at(payment_of(generate, (free, 0), (young, 0)), 199)
    plain = [spends[0]] if alone_first else [[*spends[0][:5], 198, spends[0][6]]]
    requests = (plain, spends) if alone_first else (spends, plain)
    flags = [0, ONE_TRANSACTION] if alone_first else [ONE_TRANSACTION, 0]
    outcomes = dispatch(store, "spend", *requests, flags=flags).outcomes
    answered = outcomes[0] if alone_first else outcomes[-1]
    assert answered.code == "OK"
    assert is_spent_by(store, spends[0])


def test_a_refusal_names_what_the_spender_has_behind_a_record_that_refuses_as_a_whole(
    run: Run, generate: Generator
) -> None:
    coin, young = matured(run, generate, [1]), generate.coinbase([1, 2])
    create(run, young, height=100)
    spends = payment_of(generate, (coin, 0), (young, 0), (young, 1))
    assert run("spend", at(spends[1:2], 200)).results == [True]
    outcomes = whole(run, at(spends, 199)).outcomes
    assert [outcome.code for outcome in outcomes] == ["COINBASE_IMMATURE"] * 3
    assert details(outcomes[1])["held"] == [[young.txid, 0]]


def test_a_plain_refusal_names_what_its_spender_has(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2])
    mine, other = [[*generate.spend((coinbase, vout))] for vout in (0, 1)]
    assert run("spend", [mine]).results == [True]
    run("set_locked", [[coinbase.txid, True]])
    outcomes = run("spend", [mine, other]).outcomes
    assert [outcome.code for outcome in outcomes] == ["LOCKED", "LOCKED"]
    assert details(outcomes[0]) == {"held": [[coinbase.txid, 0]]}
    assert details(outcomes[1]) == {}


def test_an_outpoint_that_a_request_names_twice_is_given_back_once(run: Run, store: Store, generate: Generator) -> None:
    free, taken = matured(run, generate, [1]), matured(run, generate, [1])
    run("spend", [[*generate.spend((taken, 0))]])
    spends = payment_of(generate, (free, 0), (taken, 0))
    outcomes = whole(run, [spends[0], spends[0], spends[1]]).outcomes
    assert [outcome.code for outcome in outcomes] == ["SPENT"] * 3
    assert "held" not in details(outcomes[2])
    assert not is_spent_by(store, spends[0])


def test_what_was_put_back_tells_no_master(run: Run, store: Store, generate: Generator) -> None:
    """The last coin of a child is spent and given back: its master hears of it as it is, or not at all."""
    parent, taken = matured(run, generate, [1, 2, 3]), matured(run, generate, [1])
    run("spend", [[*generate.spend((taken, 0))]])
    refused = whole(run, payment_of(generate, (parent, 2), (taken, 0)))
    assert refused.codes == ["SPENT"] * 2
    for follow_up in refused.follow_ups:
        run(follow_up.operation, *[dispatch_body(follow_up.body)])
    assert bins_of(store, parent.txid)["spentExtraRecs"] == 0


def dispatch_body(body: bytes) -> list[Any]:
    from protocol import wire

    return wire.unpack_body(body, 1)


def test_a_transaction_with_a_bad_item_touches_nothing(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2])
    spends = payment_of(generate, (coinbase, 0), (coinbase, 1))
    spends[1][2] = b"no hash"
    before = bins_of(store, coinbase.txid)
    assert whole(run, spends).codes == ["INVALID_PARAMETER"] * 2
    assert bins_of(store, coinbase.txid) == before


def test_spends_of_two_transactions_can_not_be_marked_as_one(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2])
    spends = [[*generate.spend((coinbase, vout))] for vout in (0, 1)]
    assert whole(run, spends).codes == ["BAD_REQUEST"] * 2


def test_a_locked_parent_refuses_the_whole(run: Run, store: Store, generate: Generator) -> None:
    free, locked = matured(run, generate, [1]), generate.coinbase([1])
    create(run, locked, flags=CREATE_LOCKED)
    spends = payment_of(generate, (free, 0), (locked, 0))
    assert whole(run, spends).codes == ["LOCKED"] * 2
    assert not is_spent_by(store, spends[0])


class GivingBackFails(Wrapped):
    """A store that wedges between the spends and what is given back."""

    is_atomic = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if any(isinstance(operation, RuleCall) and operation.function == "release" for operation in record_operations):
            raise StoreError("injected", in_doubt=True)
        return self._inner.batch_operate(record_operations, budget)


def test_where_giving_back_fails_the_answer_is_unknown_and_lists_the_outpoints(
    run: Run, store: Store, generate: Generator
) -> None:
    free, taken = matured(run, generate, [1, 2]), matured(run, generate, [1])
    run("spend", [[*generate.spend((taken, 0))]])
    spends = payment_of(generate, (free, 1), (taken, 0))
    wedged = GivingBackFails(FaultyStore(store, [], atomic=False))
    outcomes = dispatch(wedged, "spend", spends, flags=ONE_TRANSACTION).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("STORE_ERROR", "unknown")] * 2
    assert details(outcomes[0]) == {"because": 0, "outpoints": [[free.txid, 1]]}
    assert details(outcomes[1]) == {"because": 0}
    assert run("unspend", spends).codes == ["OK", "SPENT"]
    assert run("spend", [[*generate.spend((free, 1))]]).results == [True]


def test_a_spend_in_doubt_is_never_given_back(run: Run, store: Store, generate: Generator) -> None:
    """What nobody can say was applied may be another attempt's."""
    free, taken = matured(run, generate, [1]), matured(run, generate, [1])
    run("spend", [[*generate.spend((taken, 0))]])
    spends = payment_of(generate, (free, 0), (taken, 0))
    assert run("spend", spends[:1]).results == [True]
    lost = FaultyStore(store, [{"kind": "none", "index": 0}], atomic=False)
    outcomes = dispatch(lost, "spend", spends, flags=ONE_TRANSACTION).outcomes
    assert [outcome.executed for outcome in outcomes] == ["unknown"] * 2
    assert details(outcomes[0])["outpoints"] == [[free.txid, 0]]
    assert is_spent_by(store, spends[0])


def test_an_answer_grows_with_its_request_and_not_with_its_square(run: Run, store: Store, generate: Generator) -> None:
    coins = [matured(run, generate, [1]) for _ in range(40)]
    spends = payment_of(generate, *[(coin, 0) for coin in coins])
    lost = FaultyStore(store, [{"kind": "none", "index": 0}], atomic=False)
    outcomes = dispatch(lost, "spend", spends, flags=ONE_TRANSACTION).outcomes
    assert len(details(outcomes[0])["outpoints"]) == 40
    assert all(details(outcome) == {"because": 0} for outcome in outcomes[1:])


def test_what_was_given_back_since_is_not_named(run: Run, generate: Generator) -> None:
    """One outpoint, asked twice by one attempt at two heights: applied, refused, and given back."""
    young = generate.coinbase([1])
    create(run, young, height=100)
    (spend,) = payment_of(generate, (young, 0))
    outcomes = whole(run, [*at([spend], 250), *at([spend], 150)]).outcomes
    assert [outcome.code for outcome in outcomes] == ["COINBASE_IMMATURE"] * 2
    assert all("held" not in details(outcome) for outcome in outcomes)
    assert run("spend", [[*generate.spend((young, 0), height=250)]]).results == [True]


def test_what_could_not_be_looked_at_is_named_as_unseen(run: Run, store: Store, generate: Generator) -> None:
    """A fault of one record refuses the whole: what an earlier attempt left there nobody can say."""
    parents = [matured(run, generate, [1]) for _ in range(2)]
    spends = payment_of(generate, *[(parent, 0) for parent in parents])
    assert run("spend", spends).results == [True, True]
    failing = FaultyStore(store, [{"kind": "fail", "index": 1}], atomic=False)
    outcomes = dispatch(failing, "spend", spends, flags=ONE_TRANSACTION).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("STORE_ERROR", "no")] * 2
    assert details(outcomes[1])["unseen"] == [[parents[1].txid, 0]]
    assert details(outcomes[1])["held"] == [[parents[0].txid, 0]]
    assert all(is_spent_by(store, spend) for spend in spends)


class NoMasters(Wrapped):
    """A store that fails when masters are asked why a child record is missing."""

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if any(
            isinstance(operation, Read) and "totalUtxos" in (operation.bins or ()) for operation in record_operations
        ):
            raise StoreError("injected", in_doubt=False)
        return self._inner.batch_operate(record_operations, budget)


def test_one_missing_child_harms_no_other_request_of_the_dispatch(run: Run, store: Store, generate: Generator) -> None:
    parent, other = matured(run, generate, [1, 2, 3]), matured(run, generate, [1, 2])
    store.batch_operate([Remove(child_key(parent.txid, 1))], 30.0)
    missing = [[*generate.spend((parent, 2))]]
    refused = payment_of(generate, (other, 1), (parent, 2))
    plain = [[*generate.spend((other, 0))]]
    flags = [0, ONE_TRANSACTION, 0]
    outcomes = dispatch(NoMasters(store), "spend", missing, refused, plain, flags=flags).outcomes
    assert [outcome.code for outcome in outcomes] == ["STORE_ERROR"] * 3 + ["OK"]
    assert all(outcome.executed == "no" for outcome in outcomes[:3])
    assert not is_spent_by(store, refused[0])


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "OK", "applied": [7]},
        {"status": "OK", "applied": [0], "lives": [1]},
        {"status": "OK", "applied": [0], "lives": {3: 1}},
        {"status": "ERROR", "errors": {5: {"errorCode": "SPENT"}}, "applied": []},
        {"status": "ERROR", "errorCode": "LOCKED", "mine": [7]},
        {"status": "OK", "applied": [], "mine": 3},
    ],
)
def test_an_answer_of_other_spends_is_no_answer_and_harms_its_own_alone(
    run: Run, store: Store, generate: Generator, answer: dict[str, Any]
) -> None:
    class Confused(Wrapped):
        def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
            results = self._inner.batch_operate(record_operations, budget)
            results[0].value = answer
            return results

    parents = [matured(run, generate, [1]) for _ in range(2)]
    spends = [[*generate.spend((parent, 0))] for parent in parents]
    outcomes = dispatch(Confused(store), "spend", spends).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("INTERNAL", "unknown"), ("OK", None)]
