"""Futures whose time is over: each is settled all the same, and none is given up whose answer has come."""

import threading

import pytest

from protocol import Client, NoAnswer
from tests.support.client_calls import TXID
from tests.support.clock import over
from tests.support.leading import rests
from tests.support.patience import SOON, until
from tests.support.scripted_daemon import RESULTS, answer_nothing, answering_after


def held_in_its_turn(client: Client, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The client's idle thread, and not that of its futures, until the event."""
    client.get(TXID)
    stands, goes_on = threading.Event(), threading.Event()
    turn = client._driver._channel.turn
    monkeypatch.setattr(client._driver._channel, "turn", lambda: (stands.set(), goes_on.wait(60), turn()))
    client._driver.wake()
    assert stands.wait(SOON)
    return goes_on


def test_a_future_that_nobody_answers_is_settled_by_its_timeout_and_the_grace(start, endpoint, clock):
    daemon = start(answer_nothing)
    with Client(endpoint) as client, Client(endpoint + "nobody") as alone:
        futures = [each.submit(each.get, TXID, timeout=60) for each in (client, alone)]
        daemon.wait_for(1)
        until(lambda: alone._driver.session._waiting)
        clock.now += over(60)
        errors = [future.exception(30) for future in futures]
    assert [(type(error), error.executed) for error in errors] == [(NoAnswer, "unknown"), (NoAnswer, "no")]
    assert all("in time" in error.message for error in errors)


def test_a_future_whose_answer_has_been_read_is_not_given_up(start, endpoint, clock):
    """As where the process stood still, and the thread of futures is the last to go on."""
    listens, stands, goes_on = threading.Event(), threading.Event(), threading.Event()
    start(answering_after(listens))
    with Client(endpoint) as client:
        first = client.submit(client.get, TXID, timeout=60)
        first.add_done_callback(lambda _: (stands.set(), goes_on.wait(60)))
        listens.set()
        assert stands.wait(SOON)
        futures = [client.submit(client.get, TXID, timeout=60) for _ in range(50)]
        until(lambda: client._driver.promises._settled.qsize() == len(futures))
        clock.now += 600
        goes_on.set()
        assert [future.exception(60) for future in futures] == [None] * len(futures)


def test_a_future_whose_answer_has_come_is_not_given_up_before_it_is_read(start, endpoint, clock):
    """As where the process stood still, and the thread of futures is the first to go on."""
    daemon, listens = start(), threading.Event()
    with Client(endpoint) as client:
        client.get(TXID)
        rests(client)
        daemon.script = answering_after(listens)
        driver = client._driver
        with driver._turns:
            futures = [client.submit(client.get, TXID, timeout=60) for _ in range(50)]
            driver._turn()  # sends, and reads nothing yet
            listens.set()
            assert driver._channel._connection.socket.poll(SOON * 1000)
            clock.now += 600
        assert [future.exception(60) for future in futures] == [None] * len(futures)


def test_a_future_is_settled_though_a_turn_never_ends(start, endpoint, monkeypatch):
    start()
    monkeypatch.setattr("protocol.client.thread_driver._DISTRUST", 0.1)
    with Client(endpoint, grace=0.1) as client:
        goes_on = held_in_its_turn(client, monkeypatch)
        future = client.submit(client.get, TXID, timeout=0.1)
        with pytest.raises(NoAnswer, match="drives") as caught:
            future.result(30)
        assert caught.value.executed == "unknown"
        goes_on.set()
        assert client.submit(client.get, TXID, timeout=60).result(60) == RESULTS["get"]


def test_a_callback_that_ends_its_thread_of_a_future_given_up_costs_no_other_future(start, endpoint, monkeypatch):
    start()

    def exits(_):
        raise SystemExit

    monkeypatch.setattr("protocol.client.thread_driver._DISTRUST", 0.1)
    with Client(endpoint, grace=0.1) as client:
        goes_on = held_in_its_turn(client, monkeypatch)
        future = client.submit(client.get, TXID, timeout=0.1)
        future.add_done_callback(exits)
        assert isinstance(future.exception(30), NoAnswer)
        goes_on.set()
        assert client.submit(client.get, TXID, timeout=60).result(60) == RESULTS["get"]
