"""The blocking client's leader and followers: each way in which the lead, or what hands it on, can break."""

import contextlib
import dis
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import pytest

from protocol import Client, NoAnswer, Outpoint
from protocol.client.call import Call
from protocol.client.driver import CLOSED, INTERRUPTED
from protocol.client.shared_poll import SharedPoll
from protocol.client.thread_driver import WITHIN
from tests.support.client_calls import TXID, Pending
from tests.support.scripted_daemon import RESULTS, Request, answer_nothing, answer_well

FOR_EVER = 3600.0
# Where the interpreter looks whether a signal has come: after these.
LOOKS = {dis.opmap[name] for name in ("RESUME", "CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD")}


class Interrupt:
    """Interrupts, once, what this thread does in the client: the nth time that a signal's handler could."""

    def __init__(self, nth: int, does: Callable[[], None]) -> None:
        self.left = nth
        self._does = does
        self._before: dict[FrameType, int] = {}
        self._traced = sys.gettrace()

    def __enter__(self) -> "Interrupt":
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._traced)

    def _trace(self, frame: FrameType, event: str, _: object) -> object:
        if event == "call" and "test_leaders" in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "return":
            self._before.pop(frame, None)
        elif event == "opcode" and self.left:
            if self._before.get(frame) in LOOKS:
                self.left -= 1
                if not self.left:
                    sys.settrace(None)
                    self._does()
            self._before[frame] = frame.f_code.co_code[frame.f_lasti]
        return self._trace


def interrupts(does: Callable[[], None], step: int):
    nth = 1
    while True:
        with_interrupt = Interrupt(nth, does)
        yield with_interrupt
        if with_interrupt.left:
            return
        nth += step


def raises() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def told_only(monkeypatch):
    """Nobody looks by himself, and no time is ever over: who does not see what has come was not told."""
    for module in ("session", "channel"):
        monkeypatch.setattr(f"protocol.client.{module}.SWEEP", FOR_EVER)
    monkeypatch.setattr("protocol.client.thread_driver.LOOK", FOR_EVER)


class Held:
    """A daemon's script: it answers an operation only when it is told to."""

    def __init__(self, *operations: str) -> None:
        self._operations = operations
        self._held: list[Request] = []

    def __call__(self, request: Request) -> list[list[bytes]]:
        if request.header.operation in self._operations:
            self._held.append(request)
            return []
        return [*[held.well() for held in self._held], request.well()]


def leads(client: Client, call: Callable[[], object]) -> Pending:
    """A call whose caller leads, asleep."""
    pending = Pending(call)
    until(lambda: client._driver._asleep)
    return pending


def until(condition: Callable[[], object], within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.002)


def test_an_interrupt_at_any_point_of_a_call_leaves_a_client_that_answers(start, endpoint):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        for interrupt in interrupts(raises, step=1):
            with contextlib.suppress(KeyboardInterrupt), interrupt:
                client.get(TXID)
            assert client.get(TXID, timeout=60) == RESULTS["get"]
            assert not client._driver._asked


def test_an_interrupt_at_any_point_of_a_call_leaves_no_other_caller_waiting(start, endpoint):
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
            for interrupt in interrupts(raises, step=5):
                with contextlib.suppress(KeyboardInterrupt, NoAnswer), interrupt:
                    client.get(TXID)
                before = list(answered)
                until(lambda before=before: all(now > then for now, then in zip(answered, before, strict=True)))
        finally:
            over.set()
            for thread in threads:
                thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert reasons <= {INTERRUPTED}


def test_an_interrupt_at_any_point_of_a_followers_call_makes_no_leader_deaf(start, endpoint, told_only):
    daemon = start(answer_nothing)
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        daemon.wait_for(1)
        daemon.script = answer_well
        for interrupt in interrupts(raises, step=1):
            with contextlib.suppress(KeyboardInterrupt), interrupt:
                client.get(TXID, timeout=60)
            other = Pending(lambda: client.outpoint(TXID, 0, timeout=60))
            assert other.outcome(within=30) is None
        client.close()
        assert "closed" in str(leader.outcome(within=30))


def test_an_interrupt_at_any_point_of_becoming_a_leader_leaves_the_lead_to_another(start, endpoint, monkeypatch):
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
        with Client(endpoint, grace=0.02) as client:
            leader = leads(client, lambda: client.get(TXID, timeout=60))
            until(lambda: held)
            with contextlib.suppress(KeyboardInterrupt, NoAnswer), interrupt:
                client.outpoint(TXID, 0, timeout=0.05)
            newcomer = Pending(lambda: client.set_dah(TXID, 0, 1, timeout=60))
            assert newcomer.outcome(within=30) is None
        held.clear()
        leader.outcome(within=30)

    start(script)
    for interrupt in interrupts(raises, step=3):
        becoming(interrupt)


def test_an_interrupt_at_any_point_of_closing_leaves_a_client_that_can_be_closed(start, endpoint):
    start()
    clients = []  # none is collected meanwhile
    for interrupt in interrupts(raises, step=3):
        client = Client(endpoint)
        clients.append(client)
        client.get(TXID)
        with contextlib.suppress(KeyboardInterrupt), interrupt:
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


def test_a_call_alone_wakes_no_other_thread(start, endpoint):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
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


@pytest.fixture
def usr1():
    """Sets what a signal's handler does."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda does: signal.signal(signal.SIGUSR1, lambda *_: does())
    signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_lasts_over_a_leaders_sleep_holds_up_no_follower(start, endpoint, usr1):
    """As a program's that joins its threads, before it ends."""
    start(Held("get"))
    with Client(endpoint) as client:

        def other():
            until(lambda: client._driver._asleep)
            os.kill(os.getpid(), signal.SIGUSR1)
            handling.wait(30)
            client.outpoint(TXID, 0, timeout=60)

        def handler():
            handling.set()
            assert follower.outcome(within=50) is None

        handling = threading.Event()
        usr1(handler)
        follower = Pending(other)
        assert client.get(TXID, timeout=60) == RESULTS["get"]


def test_a_call_beneath_a_handlers_is_told_when_the_handlers_turn_has_settled_it(start, endpoint, usr1, told_only):
    start(Held("get"))
    with Client(endpoint) as client:

        def other():
            until(lambda: client._driver._asleep)
            os.kill(os.getpid(), signal.SIGUSR1)

        usr1(lambda: client.outpoint(TXID, 0, timeout=60))
        beside = Pending(other)
        assert client.get(TXID, timeout=60) == RESULTS["get"]
        beside.outcome(within=30)


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


def test_a_call_that_answers_come_for_too_late_is_not_mixed_up_with_them(start, endpoint):
    daemon = start(answer_nothing)
    with Client(endpoint, grace=0.05) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=60))
        with pytest.raises(NoAnswer):
            client.get(TXID, timeout=0.1)
        held = daemon.requests
        daemon.script = lambda request: [*[other.well() for other in held], request.well()]
        assert client.outpoint(TXID, 0)
        assert leader.outcome(within=30) is None
        daemon.script = answer_well
        assert client.counters.late >= 1
