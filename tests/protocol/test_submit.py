"""The blocking client's futures: each is settled by its call's timeout and the grace, whoever drives the client."""

import concurrent.futures
import contextlib
import gc
import os
import threading
import time
import warnings

import pytest

from protocol import BadRequest, Client, ClientClosed, NoAnswer, Outpoint, Spent, UtxodError, codes
from tests.support.client_calls import ONE, SPEND, TXID, Pending
from tests.support.interrupting import interrupts, raising
from tests.support.leading import Handler, Held, leads, rests
from tests.support.patience import SOON, until
from tests.support.scripted_daemon import RESULTS, answer_nothing, answer_well, answering_after


def threads_of_futures() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "utxod-client-futures"]


class Submits:
    """Stands for a client whose methods are submitted, and waits for each."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str):
        return lambda *given, **named: self._client.submit(getattr(self._client, name), *given, **named).result(60)


@pytest.mark.parametrize("operation", ONE)
def test_a_future_gives_what_the_method_returns(start, endpoint, operation):
    start()
    with Client(endpoint) as client:
        assert ONE[operation](Submits(client)) == ONE[operation](client)


def test_a_future_raises_what_the_method_raises(start, endpoint):
    daemon = start(lambda request: [request.fault(codes.SPENT)])
    with Client(endpoint) as client:
        with pytest.raises(Spent):
            client.submit(client.spend, SPEND).result(60)
        daemon.script = answer_well
        with pytest.raises(BadRequest):
            client.submit(client.outpoint, object(), 0).result(60)
        assert client.submit(client.get_many, []).result(60) == []
        with pytest.raises(ValueError, match="timeout"):
            client.submit(client.get, TXID, timeout=0)
        for method in (client.close, client.retry, len):
            with pytest.raises(TypeError, match=r"client\.get"):
                client.submit(method)
        with pytest.raises(TypeError, match="vout"):
            client.submit(client.outpoint, TXID)
    with pytest.raises(ClientClosed):
        client.submit(client.get, TXID).result(60)


def test_many_futures_are_few_requests_and_one_thread(start, endpoint, clock):
    start()
    with Client(endpoint) as client:
        before = set(threading.enumerate())
        with client._driver._turns:  # nobody gets to send meanwhile
            futures = [client.submit(client.outpoint, TXID, vout, timeout=60) for vout in range(5000)]
        assert len(set(threading.enumerate()) - before) <= 1
        assert [future.result(60) for future in futures] == [Outpoint(*RESULTS["outpoint"])] * 5000
        assert client.counters.items == 5000
        assert client.counters.requests < 5000 / 4
        assert not client._driver._asked


def test_the_thread_of_futures_goes_when_none_is_open(start, endpoint):
    start(Held("get"))
    with Client(endpoint) as client:
        for _ in range(2):
            until(lambda: not threads_of_futures())
            future = client.submit(client.get, TXID)
            assert threads_of_futures()
            client.outpoint(TXID, 0)
            assert future.result(60)
        until(lambda: not threads_of_futures())


def test_a_future_is_settled_while_a_caller_leads(start, endpoint, told_only):
    start(Held("get"))
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        assert client.submit(client.outpoint, TXID, 0, timeout=60).result(60)
        assert leader.outcome(within=30) is None


def test_futures_and_calls_of_many_threads_are_all_settled(start, endpoint, told_only):
    start()
    with Client(endpoint) as client:

        def both():
            for _ in range(200):
                future = client.submit(client.outpoint, TXID, 0, timeout=60)
                client.get(TXID, timeout=60)
                future.result(60)

        pending = [Pending(both) for _ in range(8)]
        assert [each.outcome(within=100) for each in pending] == [None] * 8


def test_a_future_alone_is_settled_by_no_caller(start, endpoint, told_only):
    """Each of many wake-ups that was lost would last for ever."""
    start()
    with Client(endpoint) as client:
        for _ in range(500):
            assert client.submit(client.get, TXID, timeout=60).result(60)


def test_what_is_submitted_in_a_leaders_last_turn_is_sent_by_another(start, endpoint, told_only, monkeypatch):
    start()
    futures = []
    with Client(endpoint) as client:
        client.status(timeout=60)
        rests(client)
        turn, answers = client._driver._channel.turn, client.counters.answers

        def submits() -> None:
            futures.append(client.submit(client.outpoint, TXID, 0, timeout=60))

        def and_submits() -> None:
            turn()
            if client.counters.answers > answers and not futures:
                beside = threading.Thread(target=submits)
                beside.start()
                beside.join()

        monkeypatch.setattr(client._driver._channel, "turn", and_submits)
        assert client.get(TXID, timeout=60) == RESULTS["get"]
        assert futures[0].result(30)


def test_a_future_is_settled_while_its_leader_is_in_a_signals_handler(start, endpoint, usr1):
    start(Held("get"))
    with Client(endpoint) as client:
        client.status()
        rests(client)  # nobody else looks

        def other():
            handler.signal()
            client.submit(client.outpoint, TXID, 0, timeout=60).result(60)

        def joins():
            assert beside.outcome(within=50) is None

        handler = Handler(client, joins)
        usr1(handler)
        beside = Pending(other)
        assert client.get(TXID, timeout=60) == RESULTS["get"]


def test_closing_settles_all_futures(start, endpoint):
    daemon = start(answer_nothing)
    client = Client(endpoint)
    futures = [client.submit(client.get, TXID, timeout=60) for _ in range(100)]
    daemon.wait_for(1)
    client.close()
    assert {(type(future.exception(0)), future.exception(0).message[-6:]) for future in futures} == {
        (NoAnswer, "closed")
    }
    assert not client._driver._asked


def test_futures_that_meet_the_closing_are_settled_all_the_same(start, endpoint):
    start()
    for _ in range(20):
        client = Client(endpoint)

        def submits(client=client):
            return [client.submit(client.get, TXID, timeout=60).exception(60) for _ in range(100)]

        pending = [Pending(submits) for _ in range(4)]
        client.close()
        for each in pending:
            each.outcome(within=60)


def test_a_lost_daemon_settles_its_futures_and_the_next_is_asked(start, endpoint):
    daemon = start(answer_nothing)
    with Client(endpoint) as client:
        future = client.submit(client.get, TXID, timeout=60)
        daemon.wait_for(1)
        daemon.stop()
        with pytest.raises(NoAnswer, match="lost"):
            future.result(60)
        future = client.submit(client.get, TXID, timeout=60)
        start(epoch=2)
        assert future.result(60) == RESULTS["get"]


def test_a_future_keeps_its_client_open_and_a_dropped_client_is_closed_after_it(start, endpoint):
    daemon = start(Held("get"))
    client = Client(endpoint)
    driver = client._driver
    future = client.submit(client.get, TXID, timeout=60)
    daemon.wait_for(1)
    other = client.submit(client.outpoint, TXID, 0, timeout=60)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del client
        assert future.result(60) == RESULTS["get"]
        assert other.result(60)
        until(lambda: gc.collect() is not None and not driver._thread.is_alive())
    assert sum("dropped" in str(warning.message) for warning in warned) == 1


def test_a_future_cannot_be_cancelled_and_takes_part_in_waiting_for_several(start, endpoint):
    daemon = start(Held("get"))
    with Client(endpoint) as client:
        held = client.submit(client.get, TXID, timeout=60)
        daemon.wait_for(1)
        assert not held.cancel()
        assert held.running()
        other = client.submit(client.outpoint, TXID, 0, timeout=60)
        assert {*concurrent.futures.as_completed([held, other], 60)} == {held, other}


def test_what_a_callback_does_is_no_other_callers_affair(start, endpoint):
    listens = threading.Event()
    start(answering_after(listens))
    goes_on, seen = threading.Event(), []

    def stands(_):
        seen.append(threading.current_thread().name)
        goes_on.wait(60)
        raise SystemExit

    with Client(endpoint) as client:
        first = client.submit(client.get, TXID, timeout=60)
        first.add_done_callback(stands)
        listens.set()
        until(lambda: seen)
        assert client.get(TXID, timeout=60) == RESULTS["get"]
        second = client.submit(client.get, TXID, timeout=60)
        second.add_done_callback(lambda _: seen.append(client.submit(client.get, TXID, timeout=60)))
        goes_on.set()
        assert second.result(60) == RESULTS["get"]
        until(lambda: len(seen) == 2)
        assert seen[1].result(60) == RESULTS["get"]
    assert seen[0] == "utxod-client-futures"


@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeoutError])
def test_an_interrupt_at_any_point_of_submitting_leaves_a_client_that_answers(start, endpoint, raised):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        for interrupt in interrupts(raising(raised), step=3):
            with contextlib.suppress(raised, UtxodError), interrupt:
                client.submit(client.get, TXID, timeout=60)
            assert client.submit(client.outpoint, TXID, 0, timeout=60).exception(60) is None
            assert client.get(TXID, timeout=60) == RESULTS["get"]
        until(lambda: not client._driver._asked)


def test_an_interrupt_at_any_point_of_the_first_submitting_leaves_a_client_that_settles(start, endpoint):
    """That it meets a thread which is being made: an interrupt in there may leave a lock as the interpreter has not."""
    start()
    for interrupt in interrupts(raising(KeyboardInterrupt), step=7):
        with Client(endpoint) as client:
            with contextlib.suppress(KeyboardInterrupt, RuntimeError, UtxodError), interrupt:
                client.submit(client.get, TXID, timeout=60)
            assert client.submit(client.outpoint, TXID, 0, timeout=60).exception(60) is None


def test_an_interrupt_at_any_point_of_closing_leaves_no_future_unsettled(start, endpoint):
    daemon = start()
    for interrupt in interrupts(raising(KeyboardInterrupt), step=7):
        goes_on, stands, listens = threading.Event(), threading.Event(), threading.Event()
        daemon.script = answering_after(listens)
        client = Client(endpoint)
        first = client.submit(client.get, TXID, timeout=60)
        first.add_done_callback(lambda _, stands=stands, goes_on=goes_on: (stands.set(), goes_on.wait(60)))
        listens.set()
        assert stands.wait(SOON)  # who closes settles the others
        daemon.script = answer_nothing
        futures = [client.submit(client.get_many, [TXID] * 3, timeout=60) for _ in range(3)]
        with contextlib.suppress(KeyboardInterrupt, UtxodError), interrupt:
            client.close()
        client.close()
        goes_on.set()
        assert not concurrent.futures.wait(futures, 60).not_done


def test_a_copy_that_a_fork_made_submits_nothing(start, endpoint):
    start()
    with Client(endpoint) as client:
        client.submit(client.get, TXID).result(60)
        child = os.fork()
        if not child:
            status = 1
            try:
                client.submit(client.get, TXID).result(10)
            except ClientClosed:
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.submit(client.get, TXID).result(60) == RESULTS["get"]


def test_where_no_thread_can_be_started_nothing_is_asked(start, endpoint, monkeypatch):
    daemon = start()

    def refused(_):
        raise RuntimeError("can't start new thread")

    with Client(endpoint) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            with pytest.raises(RuntimeError, match="new thread"):
                client.submit(client.get, TXID)
        assert not daemon.requests
        assert client.submit(client.get, TXID, timeout=60).result(60) == RESULTS["get"]


def test_a_future_does_not_wait_for_one_before_it(start, endpoint):
    daemon = start(Held("get"))
    with Client(endpoint) as client:
        held = client.submit(client.get, TXID, timeout=60)
        daemon.wait_for(1)
        daemon.script = lambda request: [request.well()]
        begun = time.monotonic()
        assert client.submit(client.outpoint, TXID, 0, timeout=60).result(60)
        assert not held.done()
        assert time.monotonic() - begun < 60
        client.close()
