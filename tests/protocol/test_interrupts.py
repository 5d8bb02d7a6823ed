"""What interrupts the blocking client at any point, a signal's handler or the end of the stack, costs what it must."""

import contextlib
import os
import sys
import threading

import pytest

from protocol import Client, NoAnswer, Outpoint
from protocol.client.driver import CLOSED, FORKED, INTERRUPTED
from protocol.client.thread_driver import WITHIN
from tests.support.client_calls import TXID, Pending
from tests.support.clock import over
from tests.support.interrupting import interrupts, raising
from tests.support.leading import FOR_EVER, Handler, Held, leads
from tests.support.patience import until
from tests.support.scripted_daemon import RESULTS, answer_nothing, answer_well


class Overdue(Exception):
    """As of a program that bounds its own work."""


@pytest.fixture(params=[KeyboardInterrupt, TimeoutError, Overdue])
def raised(request):
    return request.param


def test_an_interrupt_at_any_point_of_a_call_leaves_a_client_that_answers(start, endpoint, raised):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        for interrupt in interrupts(raising(raised), step=1):
            try:
                with interrupt:
                    client.get(TXID)
            except raised:
                assert not interrupt.left
            else:
                assert interrupt.left  # it was not raised at all
            assert client.get(TXID, timeout=60) == RESULTS["get"]
            assert not client._driver._asked


def test_an_interrupt_at_any_point_of_a_call_leaves_no_other_caller_waiting(start, endpoint, raised):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        answered, reasons, over = [0] * 3, set(), threading.Event()

        def ask(index):
            while not over.is_set():
                try:
                    client.outpoint(TXID, 0, timeout=60)
                except NoAnswer as error:
                    reasons.add(error.message)
                answered[index] += 1

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(answered))]
        for thread in threads:
            thread.start()
        try:
            for interrupt in interrupts(raising(raised), step=5):
                with contextlib.suppress(raised, NoAnswer), interrupt:
                    client.get(TXID)
                before = list(answered)
                until(lambda before=before: all(now > then for now, then in zip(answered, before, strict=True)))
        finally:
            over.set()
            for thread in threads:
                thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert reasons <= {INTERRUPTED}


def test_an_interrupt_at_any_point_of_a_followers_call_makes_no_leader_deaf(start, endpoint, raised, told_only):
    daemon = start(answer_nothing)
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        daemon.wait_for(1)
        daemon.script = answer_well
        for interrupt in interrupts(raising(raised), step=1):
            with contextlib.suppress(raised), interrupt:
                client.get(TXID, timeout=60)
            other = Pending(lambda: client.outpoint(TXID, 0, timeout=60))
            assert other.outcome(within=30) is None
        client.close()
        assert "closed" in str(leader.outcome(within=30))


def test_an_interrupt_at_any_point_of_becoming_a_leader_leaves_it_to_another(
    start, endpoint, raised, monkeypatch, clock
):
    monkeypatch.setattr("protocol.client.thread_driver.LOOK", FOR_EVER)
    held = []

    def script(request):
        if request.header.operation == "get":
            held.append(request)
            return []
        if request.header.operation == "outpoint":  # whose caller is to lead, as the leader's answer is this
            return [held.pop().well()]
        return [request.well()]

    def becoming(interrupt):
        with Client(endpoint) as client:
            wait, me = client._driver._poll.wait, threading.current_thread()

            def oversleeps(seconds):  # whoever leads here: its time is over then
                here = threading.current_thread() is me
                clock.now += over(60) if here else 0
                wait(0 if here else seconds)

            monkeypatch.setattr(client._driver._poll, "wait", oversleeps)
            leader = leads(client, lambda: client.get(TXID, timeout=FOR_EVER))
            until(lambda: held)
            with contextlib.suppress(raised, NoAnswer), interrupt:
                client.outpoint(TXID, 0, timeout=60)
            newcomer = Pending(lambda: client.set_dah(TXID, 0, 1, timeout=60))
            assert newcomer.outcome(within=30) is None
        held.clear()
        leader.outcome(within=30)

    start(script)
    for interrupt in interrupts(raising(raised), step=1):
        becoming(interrupt)


def test_an_interrupt_at_any_point_of_closing_leaves_a_client_that_can_be_closed(start, endpoint, raised):
    start()
    clients = []  # none is collected meanwhile
    for interrupt in interrupts(raising(raised), step=3):
        client = Client(endpoint)
        clients.append(client)
        client.get(TXID)
        with contextlib.suppress(raised), interrupt:
            client.close()
        client.close()
        assert not client._driver._thread.is_alive()


def test_a_signals_handler_may_ask_and_close_at_any_point_of_a_call(start, endpoint):
    start()
    answered, refused, closed = set(), set(), set()

    def asks():
        try:
            answered.add(client.outpoint(TXID, 0, timeout=60))
        except NoAnswer as error:
            refused.add((error.executed, error.message))

    with Client(endpoint) as client:
        client.get(TXID)
        for interrupt in interrupts(asks, step=1):
            with interrupt:
                assert client.get(TXID, timeout=60) == RESULTS["get"]
    assert answered == {Outpoint(*RESULTS["outpoint"])}
    assert refused == {("no", WITHIN)}
    for interrupt in interrupts(lambda: client.close(), step=7):  # noqa: PLW0108 - the client is another each time
        with Client(endpoint) as client:
            try:
                with interrupt:
                    client.get(TXID, timeout=60)
            except NoAnswer as error:
                closed.add(error.message)
        assert not client._driver._thread.is_alive()
    assert closed == {CLOSED}


def test_a_handler_that_lasts_over_a_leaders_sleep_holds_up_no_follower(start, endpoint, usr1):
    """As a program's that joins its threads, before it ends."""
    start(Held("get"))
    with Client(endpoint) as client:

        def other():
            handler.signal()
            client.outpoint(TXID, 0, timeout=60)

        def joins():
            assert follower.outcome(within=50) is None

        handler = Handler(client, joins)
        usr1(handler)
        follower = Pending(other)
        assert client.get(TXID, timeout=60) == RESULTS["get"]


def test_a_call_beneath_a_handlers_is_told_when_the_handlers_turn_has_settled_it(start, endpoint, usr1, told_only):
    start(Held("get"))
    with Client(endpoint) as client:
        handler = Handler(client, lambda: client.outpoint(TXID, 0, timeout=60))
        usr1(handler)
        beside = Pending(handler.signal)
        assert client.get(TXID, timeout=60) == RESULTS["get"]
        beside.outcome(within=30)


def test_a_call_at_the_end_of_the_stack_costs_no_other_call(start, endpoint):
    start()

    def deep(left):
        return deep(left - 1) if left else client.get(TXID, timeout=60)

    with Client(endpoint) as client:
        frame, depth = sys._getframe(), 0
        while frame is not None:
            frame, depth = frame.f_back, depth + 1
        left = sys.getrecursionlimit() - depth
        overflowed = 0
        for spare in range(1, 61):
            try:
                assert deep(left - spare) == RESULTS["get"]
            except RecursionError:
                overflowed += 1
            assert client.get(TXID, timeout=60) == RESULTS["get"]
    assert overflowed > 5


def test_a_fork_in_a_leaders_handler_takes_nothing_from_the_parent(start, endpoint, usr1, told_only):
    start(Held("get"))
    parent, children = os.getpid(), []
    with Client(endpoint) as client:

        def other():
            handler.signal()
            until(lambda: children)
            client.outpoint(TXID, 0, timeout=60)

        handler = Handler(client, lambda: children.append(os.fork()))
        usr1(handler)
        beside = Pending(other)
        try:
            assert client.get(TXID, timeout=60) == RESULTS["get"]
            reason = ""
        except NoAnswer as error:
            reason = error.message
        if os.getpid() != parent:
            os._exit(0 if reason == FORKED else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
        assert not reason
        assert beside.outcome(within=30) is None
        for _ in range(20):
            assert client.outpoint(TXID, 0, timeout=60)
