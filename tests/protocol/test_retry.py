"""Both clients' `retry`, against a daemon that follows a script: it asks again while that is safe, and no longer."""

import asyncio
import contextlib
import functools
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from protocol import (
    Abandoned,
    Accepted,
    AsyncClient,
    Client,
    ClientClosed,
    Locked,
    NoAnswer,
    Overloaded,
    Spent,
    TxExists,
    UtxodError,
    codes,
    wire,
)
from protocol.wire import Error
from tests.support.client_calls import HASH, SPEND, TXID, Pending
from tests.support.clock import over
from tests.support.interrupting import interrupts, raising
from tests.support.patience import until
from tests.support.scripted_daemon import RESULTS, Request, answer_nothing, answer_well

Answer = Callable[[Request], Iterable[list[bytes]]]


def blocking(endpoint: str, method: str, *arguments: Any, **options: Any) -> Any:
    with Client(endpoint) as client:
        return client.retry(getattr(client, method), *arguments, **options)


def with_asyncio(endpoint: str, method: str, *arguments: Any, **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(endpoint) as client:
            return await client.retry(getattr(client, method), *arguments, **options)

    return asyncio.run(run())


@pytest.fixture(params=[blocking, with_asyncio])
def retry(request, endpoint) -> Callable[..., Any]:
    """Retries a method of each client."""
    return functools.partial(request.param, endpoint)


def one_by_one(*answers: Answer) -> Answer:
    """A script: the nth request gets the nth answer, and each behind them is answered well."""
    left = list(answers)

    def answer(request: Request) -> Iterable[list[bytes]]:
        return left.pop(0)(request) if left else answer_well(request)

    return answer


def fault(code: str, executed: str = "no", **fields: Any) -> Answer:
    return lambda request: [request.fault(code, executed, **fields)]


def errors(found: dict[int, Error]) -> Answer:
    """Items by their index; the others are done."""

    def answer(request: Request) -> Iterable[list[bytes]]:
        count = request.header.count
        results = [None if index in found else True for index in range(count)]
        return [request.reply(wire.pack_reply_header(wire.ReplyHeader(None, count, found)), wire.pack_body(results))]

    return answer


OVERLOADED = fault(codes.OVERLOADED, retry_after=30)


def test_what_was_not_executed_is_asked_again_when_the_daemon_says(start, retry):
    daemon = start(one_by_one(OVERLOADED, OVERLOADED))
    assert retry("accept", b"raw", block_height=5, within=60.0) == Accepted(True, False, {"records": 1})
    first, second, third = daemon.requests
    assert second.received - first.received >= 30_000
    assert third.received - second.received >= 30_000
    assert first.items == second.items == third.items == [[b"raw", 5, [], 0]]


@pytest.mark.parametrize("method", ["freeze", "unfreeze"])
def test_what_does_more_when_it_is_asked_twice_is_asked_again_only_where_it_was_not_executed(start, retry, method):
    daemon = start(one_by_one(OVERLOADED))
    assert retry(method, TXID, 0, HASH, within=60.0)
    assert len(daemon.requests) == 2
    daemon.script = fault(codes.WORKER_CRASHED, "unknown")
    with pytest.raises(UtxodError, match="WORKER_CRASHED") as caught:
        retry(method, TXID, 0, HASH, within=60.0)
    assert caught.value.executed == "unknown"
    assert len(daemon.requests) == 3


def test_a_rejection_is_raised_at_once(start, retry):
    daemon = start(fault(codes.LOCKED))
    with pytest.raises(Locked) as caught:
        retry("spend", SPEND, within=60.0)
    assert caught.value.executed == "no"
    assert len(daemon.requests) == 1


def test_a_daemon_that_is_started_anew_is_asked_again(start, retry):
    def gone(request: Request) -> Iterable[list[bytes]]:
        beside.start()
        return []

    def anew() -> None:
        daemons[0].stop()
        daemons.append(start(epoch=2))

    beside = threading.Thread(target=anew)
    daemons = [start(gone)]
    assert retry("spend", SPEND, within=60.0) is True
    beside.join()
    assert [len(each.requests) for each in daemons] == [1, 1]


def test_a_daemon_that_comes_later_is_waited_for(start, retry):
    timer = threading.Timer(0.3, start)
    timer.start()
    assert retry("spend", SPEND, within=60.0, timeout=0.1) is True
    timer.join()


def test_unknown_stays_whatever_the_last_attempt_was_answered(start, retry):
    lost = fault(codes.STORE_ERROR, "unknown", details={"outpoints": [[TXID, 1]]})
    start(one_by_one(lost, fault(codes.SPENT, details={"vin": 0})))
    with pytest.raises(Spent, match="asked before: STORE_ERROR") as caught:
        retry("accept", b"raw", block_height=5, within=60.0)
    assert (caught.value.executed, caught.value.details) == ("unknown", {"outpoints": [[TXID, 1]], "vin": 0})


def test_a_creation_that_was_executed_unanswered_is_found_to_exist(start, retry):
    start(one_by_one(fault(codes.WORKER_CRASHED, "unknown"), fault(codes.TX_EXISTS)))
    with pytest.raises(TxExists) as caught:
        retry("create", b"raw", block_height=5, within=60.0)
    assert caught.value.executed == "unknown"


def test_only_the_items_that_may_be_are_asked_again_and_outcomes_are_in_order(start, retry):
    found = {
        0: Error(codes.UNAVAILABLE, "no", "", 10),
        2: Error(codes.LOCKED, "no"),
        4: Error(codes.INTERNAL, "unknown"),
    }
    daemon = start(one_by_one(errors(found), errors({0: Error(codes.ABANDONED, "no", "", 10)})))
    outcomes = retry("spend_many", [SPEND._replace(vout=vout) for vout in range(5)], within=60.0)
    assert [outcome.code for outcome in outcomes] == ["OK", "OK", "LOCKED", "OK", "OK"]
    assert [[item[1] for item in request.items] for request in daemon.requests] == [[0, 1, 2, 3, 4], [0, 4], [0]]


def test_an_item_that_cannot_be_encoded_keeps_its_place(start, retry):
    daemon = start(one_by_one(errors({1: Error(codes.UNAVAILABLE, "no", "", 10)})))
    outcomes = retry("spend_many", [SPEND, SPEND._replace(txid=object()), SPEND._replace(vout=2)], within=60.0)
    assert [outcome.code for outcome in outcomes] == ["OK", "BAD_REQUEST", "OK"]
    assert [[item[1] for item in request.items] for request in daemon.requests] == [[0, 2], [2]]
    assert retry("spend_many", [], within=60.0) == []


def test_a_transactions_spends_are_asked_again_as_a_whole(start, retry):
    creating = Error(codes.CREATING, "no", "", 10, {"because": 1})
    daemon = start(one_by_one(errors({0: creating, 1: creating})))
    assert retry("spend_transaction", [SPEND, SPEND._replace(vin=1)], within=60.0) == [True, True]
    assert [(request.header.count, request.header.flags) for request in daemon.requests] == [(2, 1), (2, 1)]


def test_when_the_time_is_over_the_last_error_is_raised_and_no_attempt_was_given_more(start, retry, clock):
    begun, moments = clock.now, [1.0, 59.8]

    def refused(request: Request) -> Iterable[list[bytes]]:
        clock.now = begun + moments.pop(0)
        return [request.fault(codes.OVERLOADED, retry_after=300)]

    daemon = start(refused)
    with pytest.raises(Overloaded) as caught:
        retry("get", TXID, within=60.0, timeout=600)
    assert caught.value.executed == "no"
    first, second = daemon.requests
    end = first.received + 60_000_000
    assert end - 3_600_000_000 < first.header.deadline <= end
    assert second.header.deadline == first.header.deadline


@pytest.mark.parametrize("before", [[], [fault(codes.STORE_ERROR, "unknown")]], ids=["no", "unknown"])
def test_an_attempt_that_never_leaves_hides_nothing_that_those_before_it_were_answered(start, retry, clock, before):
    def and_none_is_there(request: Request) -> Iterable[list[bytes]]:
        daemon.answers_hello = False
        return [request.fault(codes.STALE, message="it was started anew")]

    def time_goes_by() -> None:
        daemon.wait_for_handshakes(2)  # the answer has been read
        while not done.wait(0.01):
            clock.now += 1

    done = threading.Event()
    daemon = start(one_by_one(*before, and_none_is_there))
    beside = threading.Thread(target=time_goes_by)
    beside.start()
    try:
        with pytest.raises(UtxodError) as caught:
            retry("spend", SPEND, timeout=20, within=60.0)
    finally:
        done.set()
        beside.join()
    error = caught.value
    assert (error.code, error.executed) == (codes.STALE, "unknown" if before else "no")
    assert error.request_id == f"{daemon.requests[0].id.hex()}/0"  # if any may have been executed, it is that
    assert "it was started anew" in error.message


def test_an_attempts_own_timeout_is_kept(start, retry, clock):
    daemon = start(one_by_one(clock.passes(over(20))))
    assert retry("spend", SPEND, timeout=20, within=60.0)
    first, second = daemon.requests
    assert first.header.deadline <= first.received + 20_000_000
    assert second.header.deadline >= first.header.deadline + 20_000_000


def test_who_is_to_ask_later_than_there_is_time_hears_it_at_once(start, retry):
    daemon = start(fault(codes.ABANDONED, retry_after=3_600_000))
    with pytest.raises(Abandoned) as caught:
        retry("accept", b"raw", block_height=5, within=60.0)
    assert caught.value.retry_after == 3600
    assert len(daemon.requests) == 1


@pytest.mark.parametrize("within", [0, -1, float("nan"), float("inf")])
def test_a_time_that_bounds_nothing_is_refused(start, retry, within):
    with pytest.raises(ValueError, match="not a number of seconds"):
        retry("get", TXID, within=within)


def test_only_a_method_of_the_client_that_asks_is_taken(start, endpoint):
    start()
    with Client(endpoint) as client, Client(endpoint) as other:
        for method in (other.get, client.close, client.retry, client._ask, len, functools.partial(client.get, TXID)):
            with pytest.raises(TypeError, match=r"client\.get"):
                client.retry(method, TXID, within=1.0)
        assert client.retry(client.status, within=60.0) == {"epoch": 1}


def test_closing_ends_a_retry_and_says_what_may_have_been_executed(start, endpoint):
    daemon = start(fault(codes.WORKER_CRASHED, "unknown", retry_after=20_000))
    client = Client(endpoint)
    pending = Pending(lambda: client.retry(client.spend, SPEND, within=60.0))
    daemon.wait_for(1)
    client.close()
    error = pending.outcome(within=30)
    assert isinstance(error, NoAnswer)
    assert error.executed == "unknown"
    with pytest.raises(ClientClosed):
        client.retry(client.spend, SPEND, within=60.0)

    async def run():
        client = AsyncClient(endpoint)
        pending = asyncio.create_task(client.retry(client.spend, SPEND, within=60.0))
        await asyncio.to_thread(daemon.wait_for, 2)
        await client.close()
        with pytest.raises(NoAnswer) as caught:
            await asyncio.wait_for(pending, 30)
        assert caught.value.executed == "unknown"
        with pytest.raises(ClientClosed):
            await client.retry(client.spend, SPEND, within=60.0)

    asyncio.run(run())


def test_ctrl_c_ends_a_retry_at_once(start, endpoint):
    daemon = start(fault(codes.OVERLOADED, retry_after=20_000))

    def presses() -> None:
        daemon.wait_for(1)
        os.kill(os.getpid(), signal.SIGINT)

    with Client(endpoint) as client:
        beside = threading.Thread(target=presses)
        beside.start()
        with pytest.raises(KeyboardInterrupt):
            client.retry(client.spend, SPEND, within=60.0)
        beside.join()
        assert len(daemon.requests) == 1
        assert not client._driver._asked


@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeoutError])
def test_an_interrupt_at_any_point_of_a_retry_leaves_a_client_that_answers(start, endpoint, raised):
    asked = itertools.count()
    start(lambda request: [request.well() if next(asked) % 2 else request.fault(codes.OVERLOADED, retry_after=1)])
    with Client(endpoint) as client:
        client.retry(client.get, TXID, within=60.0)
        for interrupt in interrupts(raising(raised), step=37):
            with contextlib.suppress(raised, NoAnswer), interrupt:
                client.retry(client.get, TXID, within=60.0)
            assert client.retry(client.get, TXID, within=60.0) == RESULTS["get"]
            assert not client._driver._asked


@pytest.mark.parametrize("script", [answer_nothing, fault(codes.OVERLOADED, retry_after=20_000)])
def test_a_cancelled_retry_ends_at_once(start, endpoint, script):
    daemon = start(script)

    async def run():
        async with AsyncClient(endpoint) as client:
            pending = asyncio.create_task(client.retry(client.spend, SPEND, within=60.0))
            await asyncio.to_thread(daemon.wait_for, 1)
            pending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(pending, 30)
            assert not client._driver._asked
            assert not client._driver.session.busy

    asyncio.run(run())


def test_many_callers_retry_side_by_side(start, endpoint):
    refused: set[bytes] = set()

    def script(request: Request) -> Iterable[list[bytes]]:
        found = {
            i: Error(codes.OVERLOADED, "no", "", 5) for i, item in enumerate(request.items) if item[0] not in refused
        }
        refused.update(item[0] for item in request.items)
        return errors(found)(request)

    start(script)
    with Client(endpoint) as client:
        pending = [
            Pending(lambda n=n: client.retry(client.spend, SPEND._replace(txid=bytes([n]) * 32), within=60.0))
            for n in range(32)
        ]
        assert [each.outcome(within=60) for each in pending] == [None] * 32
        until(lambda: not client._driver._asked)
