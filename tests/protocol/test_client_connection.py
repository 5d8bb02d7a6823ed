"""Both clients and a daemon that is absent, silent, talks nonsense, or comes and goes, over real sockets."""

import asyncio
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import zmq

from protocol import AsyncClient, Client, NoAnswer, UtxodError, wire
from protocol.client.connection import Connection
from protocol.wire import Error
from tests.support.client_calls import MANY, ONE, TXID, Pending, descriptors, has_sent
from tests.support.clock import over
from tests.support.patience import SOON, until
from tests.support.scripted_daemon import RESULTS, ScriptedDaemon, answer_nothing, answer_well

NONSENSE = {
    "wrong count": lambda r: [r.reply(wire.ok_header(99), wire.pack_body([True] * 99))],
    "count and results differ": lambda r: [r.reply(wire.ok_header(len(r.items)), wire.EMPTY_BODY)],
    "header": lambda r: [r.reply(b"\xc1", wire.EMPTY_BODY)],
    "body": lambda r: [r.reply(wire.ok_header(len(r.items)), b"\xc1")],
    "one frame": lambda r: [[wire.pack_prefix(wire.REPLY, r.id)]],
    "message type": lambda r: [[wire.pack_prefix(77, r.id), *r.well()[1:]]],
    "version": lambda r: [[b"UX\x09\x04" + r.id, *r.well()[1:]]],
    "another's request id": lambda r: [[wire.pack_prefix(wire.REPLY, b"x" * 16), *r.well()[1:]]],
    "no prefix": lambda r: [[b"hello"]],
    "error index": lambda r: [
        r.reply(wire.pack_reply_header(wire.ReplyHeader(None, 1, {5: Error("SPENT", "no")})), wire.pack_body([True]))
    ],
}


def stop(process: "subprocess.Popen[str]") -> None:
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # the last of its threads has stopped


@pytest.mark.parametrize("daemon", ["absent", "silent", "deaf to HELLO"])
def test_no_call_waits_longer_than_its_timeout_and_the_grace(start, endpoint, daemon):
    if daemon != "absent":
        start(answer_nothing).answers_hello = daemon == "silent"
    calls = [*ONE.values(), *MANY.values()]
    with Client(endpoint, grace=0.1) as client, ThreadPoolExecutor(len(calls)) as threads:
        asked = [threads.submit(call, client, timeout=0.3) for call in calls]
        assert not wait(asked, SOON).not_done

    async def run():
        async with AsyncClient(endpoint, timeout=0.3, grace=0.1) as client:
            calls = [call(client) for call in ONE.values()]
            return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), SOON)

    assert {type(error) for error in asyncio.run(run())} == {NoAnswer}


@pytest.mark.parametrize("daemon", ["absent", "silent", "deaf to HELLO"])
def test_of_a_call_that_is_over_what_never_left_is_a_no(start, endpoint, clock, daemon):
    if daemon != "absent":
        start(answer_nothing).answers_hello = daemon == "silent"
    with Client(endpoint) as client, ThreadPoolExecutor(len(ONE) + len(MANY)) as threads:
        one = [threads.submit(call, client, timeout=60) for call in ONE.values()]
        many = [threads.submit(call, client, timeout=60) for call in MANY.values()]
        if daemon == "silent":
            until(lambda: client.counters.items == len(ONE) + 3 * len(MANY))
        else:
            until(lambda: len(client._driver.session._waiting) == len(ONE) + len(MANY))
        clock.now += over(60)
        errors = [call.exception(30) for call in one]
        errors += [outcome.error for call in many for outcome in call.result(30)]
    executed = "unknown" if daemon == "silent" else "no"
    assert {(type(e), e.code, e.executed) for e in errors} == {(NoAnswer, "NO_ANSWER", executed)}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_dropped_and_counted_and_the_call_is_bounded(start, endpoint, clock, nonsense):
    daemon = start(NONSENSE[nonsense])
    with Client(endpoint) as client:
        pending = Pending(lambda: client.get(TXID, timeout=60))
        until(lambda: client.counters.malformed + client.counters.unknown)
        clock.now += over(60)
        assert isinstance(pending.outcome(within=30), NoAnswer)
        assert client.counters.malformed + client.counters.unknown == 1
        daemon.script = answer_well
        assert client.get(TXID) == RESULTS["get"]


def test_a_stopped_daemon_holds_up_no_call(daemon_process, endpoint, clock):
    with Client(endpoint) as client:
        client.get(TXID)
        stop(daemon_process)
        pending = Pending(lambda: client.get(TXID, timeout=60))
        until(lambda: has_sent(client, 2))
        clock.now += over(60)
        assert isinstance(pending.outcome(), NoAnswer)
        os.kill(daemon_process.pid, signal.SIGCONT)
        client.get(TXID)
        assert client.counters.late == 1


def test_a_killed_daemon_fails_what_was_pending_at_once_and_the_next_one_is_found(daemon_process, start, endpoint):
    with Client(endpoint) as client:
        client.get(TXID)
        stop(daemon_process)
        pending = Pending(lambda: client.get(TXID, timeout=60))
        until(lambda: has_sent(client, 2))
        daemon_process.kill()
        error = pending.outcome()
        assert isinstance(error, NoAnswer)
        assert error.executed == "unknown"
        assert "connection" in str(error)
        start(epoch=2)
        assert client.get(TXID) == RESULTS["get"]


def test_a_lost_connection_fails_what_was_pending_at_once_with_asyncio_too(start, endpoint):
    daemon = start(answer_nothing)

    async def run():
        async with AsyncClient(endpoint) as client:
            pending = asyncio.create_task(client.get(TXID, timeout=60))
            await asyncio.to_thread(daemon.wait_for, 1)
            await asyncio.to_thread(daemon.stop)
            with pytest.raises(NoAnswer, match="connection"):
                await asyncio.wait_for(pending, SOON)
            start(epoch=2)
            assert await client.get(TXID) == RESULTS["get"]

    asyncio.run(run())


def test_an_answer_that_came_just_before_the_end_is_read(start, endpoint, monkeypatch):
    """As that of a daemon that has drained: nothing was there a moment ago, and now both are."""
    asked, answer = threading.Event(), threading.Event()
    daemon = start(lambda request: (asked.set(), answer.wait(SOON), answer_well(request))[-1])
    hear = Connection._heard

    def hear_after_both(connection):
        if asked.is_set() and not answer.is_set():
            answer.set()
            assert connection.socket.poll(SOON * 1000)
            daemon.stop()
            assert connection.monitor.poll(SOON * 1000)
        return hear(connection)

    monkeypatch.setattr(Connection, "_heard", hear_after_both)
    with Client(endpoint) as client:
        assert client.get(TXID) == RESULTS["get"]
        until(lambda: client.counters.connections_lost == 1)
        start(epoch=2)
        assert client.get(TXID) == RESULTS["get"]


def test_what_is_asked_when_the_daemon_is_gone_already_is_asked_of_the_next(start, endpoint):
    """Though nobody has looked yet whether the connection was lost."""
    daemon = start()
    with Client(endpoint) as client:
        client.get(TXID)
        with client._driver._turns:
            daemon.stop()
            assert client._driver._channel._connection.monitor.poll(SOON * 1000)
            start(epoch=2)
            pending = Pending(lambda: client.get(TXID))
            until(lambda: client._driver._handed)
        assert pending.outcome() is None


def test_what_was_asked_before_the_daemon_was_there_is_asked_when_it_is(start, endpoint):
    with Client(endpoint) as client:
        pending = Pending(lambda: client.get(TXID))
        start()
        assert pending.outcome() is None


def test_a_peer_that_vanishes_without_a_word_is_noticed(daemon_process, endpoint, monkeypatch):
    monkeypatch.setattr("protocol.client.connection.HEARTBEAT_MS", 50)
    monkeypatch.setattr("protocol.client.connection.HEARTBEAT_TIMEOUT_MS", 150)
    with Client(endpoint) as client:
        client.retry(client.get, TXID, within=60)  # so soon, a daemon counts as lost that merely stood still,
        stop(daemon_process)
        until(lambda: client.counters.connections_lost)  # maybe before it was stopped


def test_a_daemon_that_comes_and_goes_without_a_welcome_holds_up_no_call(start, endpoint):
    with Client(endpoint, grace=0.1) as client:
        for _ in range(6):  # by then the client waits for most of a second before it connects again
            daemon = start()
            daemon.answers_hello = False
            daemon.wait_for_handshakes(1)
            daemon.stop()
        assert isinstance(Pending(lambda: client.get(TXID, timeout=0.1)).outcome(), NoAnswer)
        start()
        assert client.get(TXID) == RESULTS["get"]


def test_it_speaks_over_tcp_too():
    daemon = ScriptedDaemon("tcp://127.0.0.1:*")
    try:
        with Client(daemon.endpoint) as client:
            assert client.get(TXID) == RESULTS["get"]
    finally:
        daemon.stop()


def test_an_endpoint_that_is_none_is_refused_and_leaves_nothing():
    before = descriptors()
    with pytest.raises(zmq.ZMQError):
        Client("nowhere")

    async def run():
        with pytest.raises(zmq.ZMQError):
            AsyncClient("nowhere")

    asyncio.run(run())
    until(lambda: descriptors() <= before)  # ZeroMQ's are given back beside


def test_a_stale_answer_makes_the_client_shake_hands_anew(start, endpoint, clock):
    daemon = start(lambda request: [request.well() if request.header.epoch == daemon.epoch else request.fault("STALE")])
    with Client(endpoint) as client:
        assert client.get(TXID) == RESULTS["get"]
        daemon.epoch = 2
        with pytest.raises(UtxodError, match="STALE") as caught:
            client.get(TXID)
        assert caught.value.executed == "no"
        assert client.get(TXID) == RESULTS["get"]
        assert daemon.handshakes == 2


def test_what_waits_for_the_daemons_welcome_goes_out_with_it_and_not_with_the_next_sweep(start, endpoint, monkeypatch):
    for module in ("session", "channel"):
        monkeypatch.setattr(f"protocol.client.{module}.SWEEP", 3600.0)
    with Client(endpoint) as client:
        pending = Pending(lambda: client.get(TXID, timeout=60))
        start()
        assert pending.outcome(within=30) is None

    async def run():
        async with AsyncClient(endpoint) as client:
            return await asyncio.wait_for(client.get(TXID, timeout=60), 30)

    assert asyncio.run(run()) == RESULTS["get"]


def test_an_idle_client_looks_at_the_daemons_clock_again_and_again(start, endpoint, monkeypatch):
    monkeypatch.setattr("protocol.client.handshake.SAMPLE_PERIOD", 0.02)
    daemon = start()
    with Client(endpoint) as client:
        client.get(TXID)
        daemon.wait_for_handshakes(5)
        assert client.get(TXID) == RESULTS["get"]

    async def run():
        async with AsyncClient(endpoint) as client:
            await client.get(TXID)
            await asyncio.to_thread(daemon.wait_for_handshakes, daemon.handshakes + 5)
            assert await client.get(TXID) == RESULTS["get"]

    asyncio.run(run())


def test_late_and_double_answers_are_counted_and_never_delivered(start, endpoint):
    daemon = start(lambda request: [request.well([{"fee": 1}]), request.well([{"fee": 2}])])
    with Client(endpoint) as client:
        assert [client.get(TXID)["fee"] for _ in range(20)] == [1] * 20
        daemon.script = answer_well
        client.get(TXID)
        assert client.counters.late == 20
        assert client.counters.answers == 21
