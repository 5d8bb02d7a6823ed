"""The client's core, without sockets: every rule it opens with."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codes, wire
from protocol.calls import STATUS, Call
from protocol.greeting import AGAIN, LOOKS, PERIOD
from protocol.session import SWEEP, TICK_US, Session
from protocol.wire import Error, Limits

GRACE = 0.25


class Wire:
    """Stands for an edge: takes what a session sends, and hands it answers. now: the client's clock."""

    def __init__(self, *, ahead: int = 0, epoch: int = 1, limits: Limits | None = None, now: float = 100.0) -> None:
        self.session = Session(GRACE)
        self.now = now
        self.ahead, self.epoch, self.limits = ahead, epoch, limits or Limits()

    def ask(self, *items, operation="get", timeout=5.0, flags=0) -> Call:
        call = Call(operation, b"".join(map(msgpack.packb, items)), len(items), flags)
        call.deadline, call.waiter = self.now + timeout, object()
        self.session.submit(call)
        return call

    def send(self) -> list[list[bytes]]:
        messages = []
        while (frames := self.session.outgoing(self.now)) is not None:
            messages.append(frames)
        return messages

    def requests(self) -> list[tuple[bytes, wire.RequestHeader, list]]:
        found = []
        for prefix, *frames in self.send():
            if frames:
                header = wire.unpack_request_header(frames[0])
                found.append((prefix[4:], header, wire.unpack_body(frames[1], header.count)))
        return found

    def receive(self, *frames: bytes) -> list[Call]:
        self.session.received(frames, self.now)
        return self.session.take_settled()

    def greet(self) -> list[Call]:
        ((hello,),) = self.send()
        welcome = wire.Welcome(self.epoch, int(self.now * 1_000_000) + self.ahead, self.limits)
        return self.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(welcome))

    def reply(self, request_id: bytes, results: list, errors: dict[int, Error] | None = None) -> list[Call]:
        header = wire.pack_reply_header(wire.ReplyHeader(None, len(results), errors or {}))
        return self.receive(wire.pack_prefix(wire.REPLY, request_id), header, wire.pack_body(results))

    def refuse(self, request_id: bytes, error: Error) -> list[Call]:
        return self.receive(wire.pack_prefix(wire.REPLY, request_id), wire.error_header(error), wire.EMPTY_BODY)

    def at(self, now: float) -> list[Call]:
        self.now = now
        self.session.expire(now)
        return self.session.take_settled()


@pytest.fixture
def wired() -> Wire:
    found = Wire()
    found.greet()
    return found


def no_answer(call: Call, executed: str = codes.UNKNOWN) -> bool:
    return all(call.errors[i][:2] == (codes.NO_ANSWER, executed) for i in range(call.count))


def test_nothing_is_sent_before_the_daemon_has_answered_the_greeting():
    wired = Wire()
    wired.ask(1)
    assert [frames[0][3] for frames in wired.send()] == [wire.HELLO]
    assert wired.send() == []


def test_a_greeting_that_nobody_answers_is_repeated_at_growing_intervals():
    wired = Wire()
    assert len(wired.send()) == 1
    for elapsed in (AGAIN, 2 * AGAIN, 4 * AGAIN):
        wired.now += elapsed - 0.01
        assert wired.send() == []
        wired.now += 0.01
        assert len(wired.send()) == 1


def test_calls_that_wait_together_become_one_request_and_each_gets_its_own_results(wired):
    first, second, third = wired.ask(1), wired.ask(2, 3), wired.ask(4)
    ((request_id, header, items),) = wired.requests()
    assert (header.count, items) == (4, [1, 2, 3, 4])
    error = Error("TX_NOT_FOUND", "no")
    assert wired.reply(request_id, ["a", "b", None, "d"], {2: error}) == [first, second, third]
    assert (first.results, second.results, third.results) == (["a"], ["b", None], ["d"])
    assert (first.errors, second.errors, third.errors) == ({}, {1: error}, {})


def test_an_outstanding_request_holds_up_no_other(wired):
    wired.ask(1)
    assert len(wired.requests()) == 1
    wired.ask(2)
    assert len(wired.requests()) == 1


def test_other_operations_and_other_deadlines_travel_apart(wired):
    for operation, timeout in (("get", 5), ("get", 6), ("outpoint", 5), ("get", 5)):
        wired.ask(1, operation=operation, timeout=timeout)
    assert sorted((h.operation, h.count) for _, h, _ in wired.requests()) == [("get", 1), ("get", 2), ("outpoint", 1)]


def test_the_spends_of_one_transaction_travel_alone(wired):
    wired.ask(1, 2, operation="spend", flags=wire.ONE_TRANSACTION)
    wired.ask(3, 4, operation="spend", flags=wire.ONE_TRANSACTION)
    wired.ask(5, operation="spend")
    assert sorted((items, h.flags) for _, h, items in wired.requests()) == [([1, 2], 1), ([3, 4], 1), ([5], 0)]


@given(
    now=st.floats(0.01, 1e7),
    timeout=st.floats(0.001, 1e5),
    ahead=st.integers(0, 10**14),
    journey=st.floats(0, 3),
)
def test_a_deadline_on_the_wire_is_never_later_than_asked_for(now, timeout, ahead, journey):
    """Also where the greeting took long, and whenever on its way the daemon read its clock."""
    wired = Wire(ahead=ahead, now=now)
    ((hello,),) = wired.send()
    clock = int(now * 1_000_000) + ahead  # read at the very start of the journey back
    wired.now = now + journey
    wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(wire.Welcome(1, clock, Limits())))
    asked = wired.now + timeout
    wired.ask(1, timeout=timeout)
    for _, header, _ in wired.requests():
        assert header.deadline <= asked * 1_000_000 + ahead + 1
        on_time = min(timeout, 3600) * 1_000_000 - journey * 1_000_000 - TICK_US - 2
        assert header.deadline >= wired.now * 1_000_000 + ahead + on_time


def test_calls_of_one_moment_share_a_tick(wired):
    for step in range(50):
        wired.ask(step, timeout=5 + step / 10_000)
    assert len(wired.requests()) <= 2


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=40),
    max_items=st.integers(1, 10),
    max_body=st.integers(30, 100),
)
def test_a_call_larger_than_the_limits_is_split_and_its_outcomes_are_joined(sizes, max_items, max_body):
    wired = Wire(limits=Limits(max_items, max_body, 10**9))
    wired.greet()
    call = wired.ask(*[bytes(size) for size in sizes])
    settled = wired.session.take_settled()
    while requests := wired.requests():
        for request_id, header, items in requests:
            assert 1 <= header.count <= max_items
            assert len(wire.pack_body(items)) <= max_body
            settled += wired.reply(request_id, [len(item) for item in items])
    settled += wired.session.take_settled()
    assert settled == [call]
    for index, size in enumerate(sizes):
        if index in call.errors:
            assert call.errors[index][:2] == (codes.TOO_LARGE, codes.NO)
            assert len(msgpack.packb(bytes(size))) + 5 > max_body
        else:
            assert call.results[index] == size


def test_one_part_without_an_answer_leaves_the_others_their_results():
    wired = Wire(limits=Limits(2, 10_000, 10**9))
    wired.greet()
    call = wired.ask(1, 2, 3, 4)
    (first, *_), (second, *_) = wired.requests()
    assert wired.reply(first, ["a", "b"]) == []
    assert wired.refuse(second, Error(codes.OVERLOADED, codes.NO)) == [call]
    assert (call.results[:2], sorted(call.errors)) == (["a", "b"], [2, 3])


def test_the_spends_of_one_transaction_are_never_split():
    wired = Wire(limits=Limits(2, 10_000, 10**9))
    wired.greet()
    call = wired.ask(1, 2, 3, operation="spend", flags=wire.ONE_TRANSACTION)
    assert wired.requests() == []
    assert wired.session.take_settled() == [call]
    assert {error.code for error in call.errors.values()} == {codes.TOO_LARGE}


@pytest.mark.parametrize("timeout", [0.02, 1.0, 30.0])
def test_no_answer_by_deadline_and_grace_is_no_answer_unknown(wired, timeout):
    call = wired.ask(1, timeout=timeout)
    wired.requests()
    asked = wired.now
    assert wired.at(asked + timeout + GRACE - 0.001) == []
    assert wired.at(asked + timeout + GRACE + 2 * SWEEP) == [call]
    assert no_answer(call)
    assert not wired.session.busy


def test_what_was_never_sent_fails_at_its_deadline():
    wired = Wire()
    call = wired.ask(1, timeout=1)
    wired.send()
    assert wired.at(wired.now + 1.0) == [call]
    assert no_answer(call, codes.NO)


def test_what_the_send_buffer_does_not_take_stays_queued_until_its_deadline(wired):
    call = wired.ask(1, timeout=1)
    frames = wired.session.outgoing(wired.now)
    wired.session.kept(frames)
    again = wired.session.outgoing(wired.now)
    assert again == frames
    wired.session.kept(again)
    assert wired.at(wired.now + 1.0) == [call]
    assert no_answer(call, codes.NO)
    assert wired.send() == []
    assert (wired.session.counters.requests, wired.session.counters.items) == (0, 0)


def test_what_the_edge_was_interrupted_in_sending_is_not_sent_again_and_never_a_no(wired):
    call = wired.ask(1, timeout=1)
    assert wired.session.outgoing(wired.now) is not None
    assert wired.session.outgoing(wired.now) is None
    wired.session.close("the client is closed")
    assert no_answer(call)


def test_of_a_split_call_the_items_that_left_are_unknown_and_those_that_did_not_are_a_no():
    wired = Wire(limits=Limits(2, 10_000, 10**9))
    wired.greet()
    call = wired.ask(1, 2, 3, 4)
    assert wired.session.outgoing(wired.now) is not None
    wired.session.kept(wired.session.outgoing(wired.now))
    wired.session.close("the client is closed")
    assert wired.session.take_settled() == [call]
    assert [call.errors[index].executed for index in range(4)] == ["unknown", "unknown", "no", "no"]


def test_a_greeting_that_the_socket_does_not_take_is_the_next_message_again():
    wired = Wire()
    for _ in range(20):
        wired.session.kept(wired.session.outgoing(wired.now))
    assert wired.session.counters.greetings == 0
    wired.greet()
    wired.ask(1)
    assert len(wired.requests()) == 1


def test_a_late_and_a_second_answer_are_dropped_and_counted(wired):
    call = wired.ask(1, timeout=1)
    ((request_id, *_),) = wired.requests()
    assert wired.reply(request_id, ["a"]) == [call]
    assert wired.reply(request_id, ["b"]) == []
    assert call.results == ["a"]
    late = wired.ask(1, timeout=1)
    ((request_id, *_),) = wired.requests()
    assert wired.at(wired.now + 2) == [late]
    assert wired.reply(request_id, ["c"]) == []
    assert wired.session.counters.late == 2


def test_answers_to_nobodys_request_are_dropped_and_counted(wired):
    assert wired.reply(b"somebody else's.", ["a"]) == []
    assert wired.session.counters.unknown == 1


@given(frames=st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_random_frames_are_dropped_and_counted(frames):
    wired = Wire()
    wired.greet()
    call = wired.ask(1)
    ((request_id, *_),) = wired.requests()
    assert wired.receive(*frames) == []
    assert wired.receive(wire.pack_prefix(wire.REPLY, request_id), *frames) == []
    assert wired.session.counters.malformed == 2
    assert wired.reply(request_id, ["a"]) == [call]


def test_an_answer_with_another_number_of_results_is_dropped_and_counted(wired):
    wired.ask(1, 2)
    ((request_id, *_),) = wired.requests()
    assert wired.reply(request_id, ["a"]) == []
    assert wired.reply(request_id, ["a", "b", "c"]) == []
    assert wired.session.counters.malformed == 2


def test_a_lost_connection_fails_what_was_sent_at_once_and_keeps_what_was_not(wired):
    sent = wired.ask(1)
    wired.requests()
    unsent = wired.ask(2)
    wired.session.kept(wired.session.outgoing(wired.now))
    wired.session.connection_lost(wired.now)
    assert wired.session.take_settled() == [sent]
    assert no_answer(sent)
    assert "connection" in sent.errors[0].message
    wired.epoch = 2
    wired.greet()
    ((request_id, header, items),) = wired.requests()
    assert (header.epoch, items) == (2, [2])
    assert wired.reply(request_id, ["b"]) == [unsent]


def test_connections_that_lead_to_no_welcome_are_tried_at_growing_intervals(wired):
    delays = [wired.session.connection_lost(wired.now) - wired.now for _ in range(10)]
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert 0.5 < delays[-1] <= 1.0


def test_another_daemons_welcome_fails_what_was_pending(wired):
    call = wired.ask(1)
    ((request_id, *_),) = wired.requests()
    other = wired.ask(2, timeout=7)
    ((stale_id, *_),) = wired.requests()
    wired.epoch = 2
    assert wired.refuse(stale_id, Error(codes.STALE, codes.NO)) == [other]
    wired.ask(3)
    assert wired.greet() == [call]
    assert no_answer(call)
    ((_, header, _),) = wired.requests()
    assert header.epoch == 2
    assert wired.reply(request_id, ["a"]) == []


def test_a_greeting_that_is_refused_tells_whoever_waits_and_is_repeated(wired):
    wired = Wire()
    call = wired.ask(1)
    ((hello,),) = wired.send()
    assert wired.refuse(hello[4:], Error(codes.SHUTTING_DOWN, codes.NO)) == [call]
    assert call.errors[0].code == codes.SHUTTING_DOWN
    wired.now += AGAIN
    wired.greet()
    wired.ask(2)
    assert len(wired.requests()) == 1


def test_a_slow_greeting_is_repeated_for_a_closer_look_at_the_clock():
    wired = Wire(ahead=10**9)
    ((hello,),) = wired.send()
    clock = int(wired.now * 1_000_000) + wired.ahead
    wired.now += 2.0
    wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(wire.Welcome(1, clock, Limits())))
    wired.greet()
    assert wired.session.greeting.clock_offset == 10**9


def test_an_idle_session_rests_until_the_daemons_clock_is_to_be_looked_at_again(wired):
    assert wired.session.rest(wired.now, can_send=True) == PERIOD
    assert wired.session.rest(wired.now + PERIOD, can_send=True) == 0
    assert wired.session.rest(wired.now + PERIOD, can_send=False) is None


@pytest.mark.parametrize("rate", [1.2, 0.8])
def test_clocks_that_run_at_different_speeds_keep_deadlines_where_they_were_asked_for(rate):
    """rate: of the client's clock, in its own seconds per true one. The daemon's is true."""
    wired = Wire()
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
        drift = abs(1 - 1 / rate) * (PERIOD + 7)
        assert abs(header.deadline / 1_000_000 - (true(wired.now) + 5.0)) <= drift + TICK_US / 1_000_000
        wired.reply(request_id, ["a"])


def test_while_the_daemons_clock_is_looked_at_again_calls_go_out_and_stay_pending(wired):
    pending = wired.ask(1, timeout=600)
    ((request_id, *_),) = wired.requests()
    wired.now += PERIOD
    ((hello,),) = wired.send()
    wired.ask(2)
    assert len(wired.requests()) == 1
    welcome = wire.Welcome(1, int(wired.now * 1_000_000), Limits())
    assert wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(welcome)) == []
    assert wired.reply(request_id, ["a"]) == [pending]


@pytest.mark.parametrize("refused", [False, True])
def test_a_later_look_that_is_not_answered_or_refused_stops_nothing(wired, refused):
    wired.now += PERIOD
    for elapsed in (AGAIN, 2 * AGAIN, 4 * AGAIN):
        ((hello,),) = wired.send()
        call = wired.ask(1)
        if refused:
            assert wired.refuse(hello[4:], Error(codes.UNAVAILABLE, codes.NO)) == []
        ((request_id, *_),) = wired.requests()
        assert wired.reply(request_id, ["a"]) == [call]
        wired.now += elapsed
    wired.greet()
    assert wired.session.rest(wired.now, can_send=True) == PERIOD


def test_a_slow_later_look_replaces_the_clock_only_where_there_is_no_closer_one(wired):
    def look(journey: float) -> int:
        ((hello,),) = wired.send()
        clock = int(wired.now * 1_000_000) + 10**6  # a second has been gained since
        wired.now += journey
        wired.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(wire.Welcome(1, clock, Limits())))
        return wired.session.greeting.clock_offset

    wired.now += PERIOD
    assert look(journey=5.0) == 0
    assert look(journey=0.0) == 10**6
    wired.now += PERIOD
    offsets = [look(journey) for journey in (0.5, 0.25, 0.75)]
    assert len(offsets) == LOOKS
    assert offsets[:-1] == [10**6] * 2
    assert offsets[-1] == pytest.approx(750_000, abs=2)


def test_closing_fails_everything_at_once(wired):
    calls = [wired.ask(1), wired.ask(2, timeout=7)]
    wired.requests()
    unsent = wired.ask(3)
    wired.session.close("the client is closed")
    assert wired.session.take_settled() == [*calls, unsent]
    assert all(map(no_answer, calls))
    assert no_answer(unsent, codes.NO)
    assert not wired.session.busy


@pytest.mark.parametrize("sent", [False, True])
def test_a_cancelled_call_leaves_nothing_behind(sent):
    wired = Wire(limits=Limits(2, 1000, 10**9))
    wired.greet()
    calls = [wired.ask(1), wired.ask(2), wired.ask(3, 4, 5)]
    requests = wired.requests() if sent else []
    for call in calls:
        wired.session.cancel(call)
    assert not wired.session.busy
    assert wired.requests() == []
    for request_id, _, items in requests:
        assert wired.reply(request_id, items) == []
    assert wired.session.counters.late == len(requests)


def test_a_cancelled_call_takes_no_neighbour_with_it(wired):
    cancelled, kept = wired.ask(1), wired.ask(2)
    ((request_id, *_),) = wired.requests()
    wired.session.cancel(cancelled)
    assert wired.reply(request_id, ["a", "b"]) == [kept]
    assert kept.results == ["b"]


def test_a_report_is_asked_for_and_given(wired):
    call = wired.ask(operation=STATUS)
    call.count = 1
    ((prefix,),) = wired.send()
    assert wired.receive(wire.pack_prefix(wire.REPORT, prefix[4:]), wire.pack_report({"a": 1})) == [call]
    assert call.results == [{"a": 1}]
