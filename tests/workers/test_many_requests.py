"""What a dispatch of many small requests costs grows with their number, and not with its square."""

import os
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest

from protocol.wire import ONE_TRANSACTION
from store import Store, open_store
from tests.support.dispatching import HEIGHT, Run, create, dispatch
from utxod.generate import Generator

FEW, MANY = 30, 120


def steps_of(function: Callable[..., Any], *args: Any, **options: Any) -> int:
    """How many instructions of Python the call executes: what a busy machine does not change."""
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        steps += event == "opcode"
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*args, **options)
    finally:
        sys.settrace(before)
    return steps


def assert_linear(few: int, many: int) -> None:
    assert many < few * MANY / FEW * 1.2


@pytest.mark.parametrize("flags", [0, ONE_TRANSACTION])
def test_refused_requests_cost_as_much_each_however_many_they_are(flags: int) -> None:
    store = open_store("null:")
    steps = []
    for count in (FEW, MANY):
        requests: Sequence[Any] = [[[os.urandom(32), -1, bytes(32), bytes(32), 0, HEIGHT, 0]] for _ in range(count)]
        assert set(dispatch(store, "spend", *requests, flags=flags).codes) == {"INVALID_PARAMETER"}
        steps.append(steps_of(dispatch, store, "spend", *requests, flags=flags))
    assert_linear(*steps)


@pytest.mark.parametrize("flags", [0, ONE_TRANSACTION])
def test_requests_that_the_store_refused_cost_as_much_each_however_many_they_are(store: Store, flags: int) -> None:
    steps = []
    for count in (FEW, MANY):
        requests: Sequence[Any] = [
            [[os.urandom(32), vout, bytes(32), bytes(32), 0, HEIGHT, 0] for vout in range(2)] for _ in range(count)
        ]
        assert set(dispatch(store, "spend", *requests, flags=flags).codes) == {"TX_NOT_FOUND"}
        steps.append(steps_of(dispatch, store, "spend", *requests, flags=flags))
    assert_linear(*steps)


def test_answers_that_wait_for_a_follow_up_cost_as_much_each_however_many_they_are(
    store: Store, run: Run, generate: Generator
) -> None:
    steps = []
    for count in (FEW, MANY):
        transactions = [generate.coinbase([1, 1, 1]) for _ in range(count)]
        create(run, *transactions)
        requests = [[[transaction.txid, True]] for transaction in transactions]
        steps.append(steps_of(run, "set_locked", *requests))
        follow_ups = run("set_locked", *requests).follow_ups
        assert [(each.request_index, each.key) for each in follow_ups] == [
            (number, transaction.txid) for number, transaction in enumerate(transactions)
        ]
    assert_linear(*steps)
