"""The client's core: the handshake, and the daemon's clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codes, wire
from protocol.client.handshake import MAX_SAMPLES, RETRY, SAMPLE_PERIOD
from protocol.client.session import TICK_US
from protocol.wire import Error, Limits
from tests.support.wired_session import WiredSession


def test_a_handshake_that_nobody_answers_is_repeated_at_growing_intervals():
    wired = WiredSession()
    assert len(wired.send()) == 1
    for elapsed in (RETRY, 2 * RETRY, 4 * RETRY):
        wired.now += elapsed - 0.01
        assert wired.send() == []
        wired.now += 0.01
        assert len(wired.send()) == 1


@given(
    now=st.floats(0.01, 1e7),
    timeout=st.floats(0.001, 1e5),
    ahead=st.integers(0, 10**14),
    round_trip=st.floats(0, 3),
)
def test_a_deadline_on_the_wire_is_never_later_than_asked_for(now, timeout, ahead, round_trip):
    """Also where the handshake took long, and whenever on its way the daemon read its clock."""
    wired = WiredSession(ahead=ahead, now=now)
    ((hello,),) = wired.send()
    clock = int(now * 1_000_000) + ahead  # read at the very start of the way back
    wired.now = now + round_trip
    wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(wire.Welcome(1, clock, Limits())))
    asked = wired.now + timeout
    wired.ask(1, timeout=timeout)
    for _, header, _ in wired.requests():
        assert header.deadline <= asked * 1_000_000 + ahead + 1
        on_time = min(timeout, 3600) * 1_000_000 - round_trip * 1_000_000 - TICK_US - 2
        assert header.deadline >= wired.now * 1_000_000 + ahead + on_time


def test_a_handshake_that_the_socket_does_not_take_is_the_next_message_again():
    wired = WiredSession()
    for _ in range(20):
        wired.session.give_back(wired.session.outgoing(wired.now))
    assert wired.session.counters.greetings == 0
    wired.shake_hands()
    wired.ask(1)
    assert len(wired.requests()) == 1


def test_a_handshake_that_is_refused_tells_whoever_waits_and_is_repeated(wired):
    wired = WiredSession()
    call = wired.ask(1)
    ((hello,),) = wired.send()
    assert wired.refuse(hello[4:], Error(codes.SHUTTING_DOWN, codes.NO)) == [call]
    assert call.errors[0].code == codes.SHUTTING_DOWN
    wired.now += RETRY
    wired.shake_hands()
    wired.ask(2)
    assert len(wired.requests()) == 1


def test_a_slow_handshake_is_repeated_for_a_better_clock_sample():
    wired = WiredSession(ahead=10**9)
    ((hello,),) = wired.send()
    clock = int(wired.now * 1_000_000) + wired.ahead
    wired.now += 2.0
    wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(wire.Welcome(1, clock, Limits())))
    wired.shake_hands()
    assert wired.session.handshake.clock_offset == 10**9


def test_an_idle_session_rests_until_the_daemons_clock_is_to_be_sampled_again(wired):
    assert wired.session.seconds_until_due(wired.now, can_send=True) == SAMPLE_PERIOD
    assert wired.session.seconds_until_due(wired.now + SAMPLE_PERIOD, can_send=True) == 0
    assert wired.session.seconds_until_due(wired.now + SAMPLE_PERIOD, can_send=False) is None


@pytest.mark.parametrize("rate", [1.2, 0.8])
def test_clocks_that_run_at_different_speeds_keep_deadlines_where_they_were_asked_for(rate):
    """rate: of the client's clock, in its own seconds per true one. The daemon's is true."""
    wired = WiredSession()
    begun = wired.now

    def true(clock: float) -> float:
        return (clock - begun) / rate

    for _ in range(500):
        wired.now += 7.0
        wired.ahead = int((true(wired.now) - wired.now) * 1_000_000)
        for hello, *_ in wired.send():
            welcome = wire.Welcome(1, int(true(wired.now) * 1_000_000), Limits())
            wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(welcome))
        wired.ask(1, timeout=5.0)
        ((request_id, header, _),) = wired.requests()
        drift = abs(1 - 1 / rate) * (SAMPLE_PERIOD + 7)
        assert abs(header.deadline / 1_000_000 - (true(wired.now) + 5.0)) <= drift + TICK_US / 1_000_000
        wired.reply(request_id, ["a"])


def test_while_the_daemons_clock_is_sampled_again_calls_go_out_and_stay_pending(wired):
    pending = wired.ask(1, timeout=600)
    ((request_id, *_),) = wired.requests()
    wired.now += SAMPLE_PERIOD
    ((hello,),) = wired.send()
    wired.ask(2)
    assert len(wired.requests()) == 1
    welcome = wire.Welcome(1, int(wired.now * 1_000_000), Limits())
    assert wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(welcome)) == []
    assert wired.reply(request_id, ["a"]) == [pending]


@pytest.mark.parametrize("refused", [False, True])
def test_a_later_sample_that_is_not_answered_or_refused_stops_nothing(wired, refused):
    wired.now += SAMPLE_PERIOD
    for elapsed in (RETRY, 2 * RETRY, 4 * RETRY):
        ((hello,),) = wired.send()
        call = wired.ask(1)
        if refused:
            assert wired.refuse(hello[4:], Error(codes.UNAVAILABLE, codes.NO)) == []
        ((request_id, *_),) = wired.requests()
        assert wired.reply(request_id, ["a"]) == [call]
        wired.now += elapsed
    wired.shake_hands()
    assert wired.session.seconds_until_due(wired.now, can_send=True) == SAMPLE_PERIOD


def test_a_slow_later_sample_replaces_the_clock_only_where_there_is_no_better_one(wired):
    def sample(round_trip: float) -> int:
        ((hello,),) = wired.send()
        clock = int(wired.now * 1_000_000) + 10**6  # a second has been gained since
        wired.now += round_trip
        wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(wire.Welcome(1, clock, Limits())))
        return wired.session.handshake.clock_offset

    wired.now += SAMPLE_PERIOD
    assert sample(round_trip=5.0) == 0
    assert sample(round_trip=0.0) == 10**6
    wired.now += SAMPLE_PERIOD
    offsets = [sample(round_trip) for round_trip in (0.5, 0.25, 0.75)]
    assert len(offsets) == MAX_SAMPLES
    assert offsets[:-1] == [10**6] * 2
    assert offsets[-1] == pytest.approx(750_000, abs=2)
