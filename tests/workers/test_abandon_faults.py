"""abandon, and whatever fails at whichever of its calls: what it answers is true, and asking again completes it."""

from collections.abc import Sequence
from typing import Any

import pytest

from protocol.item_flags import CREATE_CONFLICTING
from store import RecordOperation, Result, Store, StoreError
from store.faulty import FaultyStore
from tests.support.abandoning import Payment, is_unspend, told
from tests.support.dispatching import Run, dispatch
from tests.support.wrapped import Wrapped
from utxod.generate import Generator


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


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
