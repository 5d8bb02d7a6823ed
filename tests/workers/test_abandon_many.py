"""abandon: as many outpoints as there may be, and no more of them than there is time for."""

from typing import Any

import pytest

from store import Store
from tests.support.abandoning import Payment, told
from tests.support.dispatching import HEIGHT, Run, dispatch
from tests.support.wrapped import Recording
from workers.runtime.abandoning import abandonment
from workers.runtime.operations import abandon


@pytest.fixture
def store(store_either_way: Any) -> Any:
    return store_either_way


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
    recording = Recording(store)
    outcomes = dispatch(recording, "abandon", items).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "BAD_REQUEST", "OK", "OK"]
    assert outcomes[0].result == [True, False, False, False]
    assert [outcomes[2].result, outcomes[3].result] == [[False, True, True], [False] * 3]
    assert max(map(len, recording.batches)) <= 5


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
