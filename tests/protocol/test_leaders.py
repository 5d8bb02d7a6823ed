"""The blocking client's leader and followers: each way in which the lead, or what hands it on, can break."""

import errno
import os
import threading
import time

import pytest

from protocol import Client, ClientClosed, NoAnswer
from protocol.client.call import Call
from protocol.client.driver import CLOSE_WAIT
from protocol.client.shared_poll import SharedPoll
from tests.support.client_calls import TXID, Pending
from tests.support.clock import over
from tests.support.leading import Handler, Held, leads, rests
from tests.support.patience import SOON, until
from tests.support.scripted_daemon import RESULTS, answer_nothing


def test_a_leader_whose_answer_has_come_leaves_and_one_that_waits_leads(start, endpoint, told_only):
    daemon = start(answer_nothing)
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        (first,) = daemon.wait_for(1)
        followers = [Pending(lambda: client.outpoint(TXID, 0, timeout=60)) for _ in range(3)]
        until(lambda: sum(request.header.count for request in daemon.requests) == 4)
        held = daemon.requests[1:]
        daemon.script = lambda request: [first.well(), request.well()]
        newcomer = Pending(lambda: client.set_dah(TXID, 0, 1, timeout=60))
        assert leader.outcome(within=30) is None
        assert newcomer.outcome(within=30) is None
        daemon.script = lambda request: [request.well(), *[other.well() for other in held]]
        assert client.set_dah(TXID, 0, 1, timeout=60)
        assert [follower.outcome(within=30) for follower in followers] == [None] * 3


def test_a_leader_that_sleeps_sends_what_a_follower_asks(start, endpoint, told_only):
    start(Held("get"))
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        follower = Pending(lambda: client.outpoint(TXID, 0, timeout=60))
        assert follower.outcome(within=30) is None
        assert leader.outcome(within=30) is None


def test_a_shorter_timeout_than_the_leaders_is_kept(start, endpoint):
    start(answer_nothing)
    with Client(endpoint, grace=0.1) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        begun = time.monotonic()
        with pytest.raises(NoAnswer, match="in time"):
            client.get(TXID, timeout=0.2)
        assert time.monotonic() - begun < 30
        client.close()
        assert "closed" in str(leader.outcome(within=30))


def test_closing_wakes_a_leader(start, endpoint, told_only):
    start(answer_nothing)
    client = Client(endpoint)
    leader = leads(client, lambda: client.get(TXID, timeout=60))
    client.close()
    assert "closed" in str(leader.outcome(within=30))
    assert not client._driver._thread.is_alive()


def test_a_lost_connection_wakes_a_leader_and_is_seen_by_a_client_that_nobody_asks(start, endpoint, told_only):
    daemon = start(answer_nothing)
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        daemon.wait_for(1)
        daemon.stop()
        assert "lost" in str(leader.outcome(within=30))
        start(epoch=2)
        assert client.get(TXID, timeout=60) == RESULTS["get"]
    daemon = start(epoch=3)
    with Client(endpoint) as client:
        client.get(TXID)
        daemon.stop()
        until(lambda: client.counters.connections_lost == 1)
        start(epoch=4)
        until(lambda: client.counters.epochs == 2)


def test_a_lead_that_was_lost_is_taken(start, endpoint):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        client._driver._leader = Call("get", b"", 1)
        assert client.get(TXID, timeout=60) == RESULTS["get"]
        assert client._driver._leader is None


def test_who_is_told_to_lead_does_so_by_then(start, endpoint):
    """Else it may look, find another one that leads, and sleep on, before it is made the leader."""
    start()
    leaders = []

    class Waiter:
        def empty(self):
            return True

        def put(self, _):
            leaders.append(client._driver._leader)

    with Client(endpoint) as client:
        client.get(TXID)
        rests(client)
        call = Call("get", b"", 1)
        call.waiter = Waiter()
        client._driver._asked[call] = threading.get_ident()
        client._driver._hand_on()
        del client._driver._asked[call]
    assert leaders[0] is call


def test_the_end_is_told_to_all_who_sleep_however_often():
    poll = SharedPoll()
    poll.hold_idle()
    poll.end()
    for sleep in (poll.wait, poll.wait_idle, poll.wait, poll.wait, poll.wait_idle):
        sleeper = threading.Thread(target=sleep, args=(60,))
        sleeper.start()
        sleeper.join(30)
        assert not sleeper.is_alive()
    poll.close()
    for call in (poll.ring, poll.hold_idle, poll.rouse_idle, poll.end, lambda: poll.wait(0), lambda: poll.remove(0)):
        call()


def test_a_call_alone_wakes_no_other_thread(start, endpoint, told_only):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        rests(client)
        watched = 0
        watch = client._driver._watch

        def counted():
            nonlocal watched
            watched += 1
            return watch()

        client._driver._watch = counted
        for _ in range(500):
            client.get(TXID)
        assert watched < 50


def test_a_turn_that_never_ends_is_waited_for_by_no_call(start, endpoint, monkeypatch):
    start()
    goes_on, stands = threading.Event(), threading.Event()
    monkeypatch.setattr("protocol.client.thread_driver._DISTRUST", 0.1)
    monkeypatch.setattr("protocol.client.thread_driver.LOOK", 0.05)
    with Client(endpoint, grace=0.1) as client:
        client.get(TXID)
        turn = client._driver._channel.turn
        monkeypatch.setattr(client._driver._channel, "turn", lambda: (stands.set(), goes_on.wait(60), turn()))
        standing = Pending(lambda: client.get(TXID, timeout=60))
        stands.wait(30)
        with pytest.raises(NoAnswer, match="drives") as caught:
            client.get(TXID, timeout=0.1)
        assert caught.value.executed == "unknown"
        assert [outcome.code for outcome in client.get_many([TXID] * 3, timeout=0.1)] == ["NO_ANSWER"] * 3
        goes_on.set()
        assert standing.outcome(within=30) is None
        assert client.get(TXID) == RESULTS["get"]


def test_a_call_whose_time_is_over_while_its_leader_sleeps_looks_itself_before_it_gives_up(
    start, endpoint, clock, monkeypatch
):
    """As where the process stood still, and the leader is not the first to go on."""
    daemon = start(answer_nothing)
    goes_on, stands = threading.Event(), threading.Event()
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=3600))
        follower = Pending(lambda: client.outpoint(TXID, 0, timeout=60))
        daemon.wait_for(2)
        wait = client._driver._poll.wait

        def oversleeps(seconds):
            if threading.current_thread() is leader.thread:
                stands.set()
                goes_on.wait(60)
            wait(seconds)

        monkeypatch.setattr(client._driver._poll, "wait", oversleeps)
        assert stands.wait(SOON)
        clock.now += 600
        error = follower.outcome(within=30)
        assert (error.executed, error.message) == ("unknown", "no answer in time")
        goes_on.set()
        client.close()
        leader.outcome(within=30)


def test_who_stood_still_while_it_waited_for_anothers_turn_still_has_its_own(start, endpoint, monkeypatch):
    start()
    goes_on, stands = threading.Event(), threading.Event()

    class Turns:
        """The first wait for one is over at once, as it is where the process stood still."""

        def __init__(self, turns):
            self._turns = turns
            self.release = turns.release

        def acquire(self, *, blocking=True, timeout=-1):
            if blocking and not goes_on.is_set():
                goes_on.set()
                return False
            return self._turns.acquire(blocking, SOON if blocking else timeout)

    with Client(endpoint) as client:
        client.get(TXID)
        rests(client)
        driver = client._driver

        def stand():
            stands.set()
            goes_on.wait(60)

        other = threading.Thread(target=driver._exclusively, args=(stand,))
        other.start()
        assert stands.wait(SOON)
        monkeypatch.setattr(driver, "_turns", Turns(driver._turns))
        assert driver._exclusively(lambda: None)
        other.join(30)


def test_closing_waits_for_a_turn_that_ends_and_for_its_thread_so_much_less(start, endpoint, monkeypatch):
    start()
    goes_on, stands = threading.Event(), threading.Event()
    monkeypatch.setattr("protocol.client.thread_driver.LOOK", 0.01)
    client = Client(endpoint)
    client.get(TXID)
    driver = client._driver
    turn, exclusively, until_gone = driver._channel.turn, driver._exclusively, driver._thread.join
    looks, joined = [], []

    def looked(work):
        had = exclusively(work)
        if threading.current_thread() is closing.thread:
            looks.append(had)
        return had

    monkeypatch.setattr(driver._channel, "turn", lambda: (stands.set(), goes_on.wait(60), turn()))
    monkeypatch.setattr(driver, "_exclusively", looked)
    monkeypatch.setattr(driver._thread, "join", lambda seconds: (joined.append(seconds), until_gone(SOON)))
    future = client.submit(client.get, TXID)
    assert stands.wait(SOON)
    closing = Pending(client.close)
    until(lambda: looks)
    goes_on.set()
    assert closing.outcome(within=30) is None
    assert future.done()
    assert not driver._thread.is_alive()
    assert joined == [CLOSE_WAIT - 0.01 * looks.count(False)]  # what is left of the time that both have


def test_a_call_that_answers_come_for_too_late_is_not_mixed_up_with_them(start, endpoint, clock):
    daemon = start(answer_nothing)
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=600))
        follower = Pending(lambda: client.get(TXID, timeout=60))
        held = daemon.wait_for(2)
        clock.now += over(60)
        assert isinstance(follower.outcome(within=30), NoAnswer)
        daemon.script = lambda request: [*[other.well() for other in held], request.well()]
        assert client.outpoint(TXID, 0)
        assert leader.outcome(within=30) is None
        assert client.counters.late == 1


def test_main_and_one_thread_beside_it_leave_no_call_to_be_found_by_looking(start, endpoint, told_only):
    """Each of a few thousand wake-ups that was lost would last for ever."""
    start()
    rounds = 2000
    with Client(endpoint) as client:

        def both():
            for _ in range(rounds):
                together.wait(60)
                client.outpoint(TXID, 0, timeout=600)

        together = threading.Barrier(2)
        beside = Pending(both)
        for _ in range(rounds):
            together.wait(60)
            client.get(TXID, timeout=600)
        assert beside.outcome(within=60) is None


def test_nobody_takes_the_lead_from_one_who_sleeps(start, endpoint, told_only):
    start(Held("get"))
    with Client(endpoint) as client:
        leads(client, lambda: client.get(TXID, timeout=60))
        led = client._driver._leader
        held = threading.Thread(target=lambda: client.status(timeout=60))
        for _ in range(50):
            client.status(timeout=60)
            assert client._driver._leader is led
        held.start()
        held.join(30)
        assert client._driver._leader is led
        assert client.outpoint(TXID, 0, timeout=60)


def test_a_lead_that_is_not_taken_up_holds_up_nobody(start, endpoint, usr1, monkeypatch):
    """It is its thread's that is in a signal's handler, and waits for the others."""
    monkeypatch.setattr("protocol.client.thread_driver.LOOK", 0.5)
    start(Held("get"))
    with Client(endpoint) as client:

        def other():
            handler.signal()
            for _ in range(200):  # that long, were each to look for itself, that the handler gives up
                client.status(timeout=60)
            client.outpoint(TXID, 0, timeout=60)

        def joins():
            assert beside.outcome(within=50) is None

        handler = Handler(client, joins)
        usr1(handler)
        beside = Pending(other)
        assert client.get(TXID, timeout=120) == RESULTS["get"]


def test_a_connection_that_cannot_be_watched_is_made_again(start, endpoint, monkeypatch):
    daemon = start()
    with Client(endpoint) as client:
        client.get(TXID)
        poll, refused = client._driver._poll, threading.Event()

        def add(descriptor):
            refused.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(poll, "add", add)
            daemon.stop()
            start(epoch=2)
            assert refused.wait(30)
            # It tries again, and has one for a moment each time.
            until(lambda: client._driver.session.problem and client._driver._channel._connection is None)
        assert client.get(TXID, timeout=60) == RESULTS["get"]


def test_turns_that_all_fail_end_the_client(start, endpoint, monkeypatch):
    start()

    def fails():
        raise LookupError("broken")

    monkeypatch.setattr("threading.excepthook", lambda _: None)
    with Client(endpoint) as client:
        client.get(TXID)
        rests(client)
        monkeypatch.setattr(client._driver._channel, "turn", fails)
        with pytest.raises(LookupError, match="broken"):
            client.get(TXID, timeout=60)
        client._driver._thread.join(30)
        with pytest.raises(ClientClosed, match="broken"):
            client.get(TXID, timeout=60)


def test_a_call_that_is_given_up_twice_is_taken_off_once(start, endpoint):
    start(answer_nothing)
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        session = client._driver.session
        until(lambda: session._pending)
        (request,) = session._pending.values()
        (call,) = request.calls
        request.wanted = 2
        with client._driver._turns:
            session.cancel(call)
            session.cancel(call)
        assert request.wanted == 1
        client.close()
        leader.outcome(within=30)
