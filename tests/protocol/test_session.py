"""The client's core, without sockets: every rule it opens with."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codes, wire
from protocol.client.call import REPORT_CALL, Call
from protocol.client.session import SWEEP
from protocol.wire import Error, Limits
from tests.support.wired_session import GRACE, WiredSession


def no_answer(call: Call, executed: str = codes.UNKNOWN) -> bool:
    return all(call.errors[i][:2] == (codes.NO_ANSWER, executed) for i in range(call.count))


def test_nothing_is_sent_before_the_daemon_has_answered_the_handshake():
    wired = WiredSession()
    wired.ask(1)
    assert [frames[0][3] for frames in wired.send()] == [wire.HELLO]
    assert wired.send() == []


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


def test_calls_of_one_moment_share_a_tick(wired):
    for step in range(50):
        wired.ask(step, timeout=5 + step / 10_000)
    assert len(wired.requests()) <= 2


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=40),
    max_items=st.integers(1, 10),
    max_body=st.integers(30, 100),
)
def test_a_call_larger_than_the_limits_is_split_and_its_outcomes_are_put_together(sizes, max_items, max_body):
    wired = WiredSession(limits=Limits(max_items, max_body, 10**9))
    wired.shake_hands()
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


def test_one_piece_without_an_answer_leaves_the_others_their_results():
    wired = WiredSession(limits=Limits(2, 10_000, 10**9))
    wired.shake_hands()
    call = wired.ask(1, 2, 3, 4)
    (first, *_), (second, *_) = wired.requests()
    assert wired.reply(first, ["a", "b"]) == []
    assert wired.refuse(second, Error(codes.OVERLOADED, codes.NO)) == [call]
    assert (call.results[:2], sorted(call.errors)) == (["a", "b"], [2, 3])


def test_the_spends_of_one_transaction_are_never_split():
    wired = WiredSession(limits=Limits(2, 10_000, 10**9))
    wired.shake_hands()
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
    wired = WiredSession()
    call = wired.ask(1, timeout=1)
    wired.send()
    assert wired.at(wired.now + 1.0) == [call]
    assert no_answer(call, codes.NO)


def test_what_the_send_buffer_does_not_take_stays_queued_until_its_deadline(wired):
    call = wired.ask(1, timeout=1)
    frames = wired.session.outgoing(wired.now)
    wired.session.give_back(frames)
    again = wired.session.outgoing(wired.now)
    assert again == frames
    wired.session.give_back(again)
    assert wired.at(wired.now + 1.0) == [call]
    assert no_answer(call, codes.NO)
    assert wired.send() == []
    assert (wired.session.counters.requests, wired.session.counters.items) == (0, 0)


def test_what_the_driver_was_interrupted_in_sending_is_not_sent_again_and_never_a_no(wired):
    call = wired.ask(1, timeout=1)
    assert wired.session.outgoing(wired.now) is not None
    assert wired.session.outgoing(wired.now) is None
    wired.session.close("the client is closed")
    assert no_answer(call)


def test_of_a_split_call_the_items_that_left_are_unknown_and_those_that_did_not_are_a_no():
    wired = WiredSession(limits=Limits(2, 10_000, 10**9))
    wired.shake_hands()
    call = wired.ask(1, 2, 3, 4)
    assert wired.session.outgoing(wired.now) is not None
    wired.session.give_back(wired.session.outgoing(wired.now))
    wired.session.close("the client is closed")
    assert wired.session.take_settled() == [call]
    assert [call.errors[index].executed for index in range(4)] == ["unknown", "unknown", "no", "no"]


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
    wired = WiredSession()
    wired.shake_hands()
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
    wired.session.give_back(wired.session.outgoing(wired.now))
    wired.session.connection_lost(wired.now)
    assert wired.session.take_settled() == [sent]
    assert no_answer(sent)
    assert "connection" in sent.errors[0].message
    wired.epoch = 2
    wired.shake_hands()
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
    assert wired.shake_hands() == [call]
    assert no_answer(call)
    ((_, header, _),) = wired.requests()
    assert header.epoch == 2
    assert wired.reply(request_id, ["a"]) == []


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
    wired = WiredSession(limits=Limits(2, 1000, 10**9))
    wired.shake_hands()
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
    call = wired.ask(operation=REPORT_CALL)
    call.count = 1
    ((prefix,),) = wired.send()
    assert wired.receive(wire.pack_prefix(wire.REPORT, prefix[4:]), wire.pack_report({"a": 1})) == [call]
    assert call.results == [{"a": 1}]
