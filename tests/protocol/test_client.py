"""Both clients against a daemon that follows a script, over real sockets."""

import asyncio
import gc
import os
import signal
import subprocess
import threading
import time
import weakref

import psutil
import pytest
import zmq

from protocol import (
    AsyncClient,
    Client,
    ClientClosed,
    CreateItem,
    Increment,
    NoAnswer,
    Outpoint,
    SetDah,
    SetLocked,
    Spend,
    Spent,
    TxNotFound,
    UtxodError,
    codes,
    wire,
)
from protocol.wire import Error, Limits
from tests.support.scripted_daemon import RESULTS, ScriptedDaemon, answer_nothing, answer_well

TXID = b"\x11" * 32
SPEND = Spend(TXID, 0, b"\x22" * 32, b"\x33" * 32, 0, 100)
ONE = {
    "get": lambda client, **o: client.get(TXID, **o),
    "outpoint": lambda client, **o: client.outpoint(TXID, 0, **o),
    "create": lambda client, **o: client.create(b"raw", block_height=1, **o),
    "create_partial": lambda client, **o: client.create_partial(TXID, {0: (1, b"")}, block_height=1, **o),
    "spend": lambda client, **o: client.spend(SPEND, **o),
    "spend_transaction": lambda client, **o: client.spend_transaction([SPEND], **o),
    "abandon": lambda client, **o: client.abandon(SPEND, **o),
    "increment": lambda client, **o: client.increment(TXID, 1, 100, **o),
    "set_dah": lambda client, **o: client.set_dah(TXID, 0, 100, **o),
    "set_locked": lambda client, **o: client.set_locked(TXID, True, **o),
    "status": lambda client, **o: client.status(**o),
}
MANY = {
    "get": lambda client, **o: client.get_many([TXID] * 3, **o),
    "outpoint": lambda client, **o: client.outpoint_many([(TXID, 0)] * 3, **o),
    "create": lambda client, **o: client.create_many([CreateItem.whole(b"raw", block_height=1)] * 3, **o),
    "spend": lambda client, **o: client.spend_many([SPEND] * 3, **o),
    "abandon": lambda client, **o: client.abandon_many([SPEND] * 3, **o),
    "increment": lambda client, **o: client.increment_many([Increment(TXID, 1, 100)] * 3, **o),
    "set_dah": lambda client, **o: client.set_dah_many([SetDah(TXID, 0, 100)] * 3, **o),
    "set_locked": lambda client, **o: client.set_locked_many([SetLocked(TXID, True)] * 3, **o),
}
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


class Pending:
    """A call in a thread of its own, and what became of it."""

    def __init__(self, call) -> None:
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except UtxodError as error:
            self.error = error

    def outcome(self, within: float) -> BaseException | None:
        self._thread.join(within)
        assert not self._thread.is_alive(), f"not settled within {within} s"
        return self.error


def stop(process: "subprocess.Popen[str]") -> None:
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # the last of its threads has stopped


def wait_until(condition, within=5.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.005)


def descriptors() -> int:
    return psutil.Process().num_fds()


@pytest.mark.parametrize("operation", ONE)
def test_each_operation_gives_its_result(start, endpoint, operation):
    daemon = start()
    with Client(endpoint) as client:
        result = ONE[operation](client)

    async def run():
        async with AsyncClient(endpoint) as client:
            return await ONE[operation](client)

    assert asyncio.run(run()) == result
    if operation == "status":
        assert result == {"epoch": 1}
        return
    wanted = RESULTS[daemon.requests[0].header.operation]
    assert result == (
        [wanted] if operation == "spend_transaction" else tuple(wanted) if type(wanted) is list else wanted
    )


@pytest.mark.parametrize("operation", MANY)
def test_each_twin_gives_an_outcome_per_item(start, endpoint, operation):
    start(lambda request: [request.well([RESULTS[operation]] * 3)])
    with Client(endpoint) as client:
        outcomes = MANY[operation](client)

    async def run():
        async with AsyncClient(endpoint) as client:
            return await MANY[operation](client)

    assert [o.result for o in asyncio.run(run())] == [o.result for o in outcomes]
    assert [(o.ok, o.code, o.error) for o in outcomes] == [(True, "OK", None)] * 3


@pytest.mark.parametrize("daemon", ["absent", "silent", "deaf to HELLO"])
def test_no_call_waits_longer_than_its_timeout_and_the_grace(start, endpoint, daemon):
    if daemon != "absent":
        start(answer_nothing).answers_hello = daemon == "silent"
    with Client(endpoint, grace=0.1) as client:
        begun = time.monotonic()
        pending = [Pending(lambda call=call: call(client, timeout=0.3)) for call in ONE.values()]
        errors = [call.outcome(within=2) for call in pending]
        many = [call(client, timeout=0.1) for call in MANY.values()]
        elapsed = time.monotonic() - begun
        assert elapsed < 0.3 + 0.1 + 0.15 + len(MANY) * (0.1 + 0.1 + 0.15)
    outcomes = [outcome.error for outcomes in many for outcome in outcomes]
    executed = "unknown" if daemon == "silent" else "no"  # what never left the client is a no
    assert {(type(e), e.code, e.executed) for e in [*errors, *outcomes]} == {(NoAnswer, "NO_ANSWER", executed)}

    async def run():
        async with AsyncClient(endpoint, timeout=0.3, grace=0.1) as client:
            calls = [call(client) for call in ONE.values()]
            return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 2)

    assert {type(error) for error in asyncio.run(run())} == {NoAnswer}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_dropped_and_counted_and_the_call_is_bounded(start, endpoint, nonsense):
    daemon = start(NONSENSE[nonsense])
    with Client(endpoint, grace=0.05) as client:
        with pytest.raises(NoAnswer):
            client.get(TXID, timeout=0.2)
        assert client.counters.malformed + client.counters.unknown == 1
        daemon.script = answer_well
        assert client.get(TXID) == RESULTS["get"]


def test_a_stopped_daemon_holds_up_no_call(daemon_process, endpoint):
    with Client(endpoint, grace=0.1) as client:
        client.get(TXID)
        stop(daemon_process)
        begun = time.monotonic()
        with pytest.raises(NoAnswer):
            client.get(TXID, timeout=0.3)
        assert time.monotonic() - begun < 1.0
        os.kill(daemon_process.pid, signal.SIGCONT)
        client.get(TXID)
        assert client.counters.late == 1


def test_a_killed_daemon_fails_what_was_pending_at_once_and_the_next_one_is_found(daemon_process, start, endpoint):
    with Client(endpoint) as client:
        client.get(TXID)
        stop(daemon_process)
        pending = Pending(lambda: client.get(TXID, timeout=60))
        wait_until(lambda: client.counters.requests == 2)
        daemon_process.kill()
        error = pending.outcome(within=2)
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
                await asyncio.wait_for(pending, 2)
            start(epoch=2)
            assert await client.get(TXID) == RESULTS["get"]

    asyncio.run(run())


def test_what_was_asked_before_the_daemon_was_there_is_asked_when_it_is(start, endpoint):
    with Client(endpoint) as client:
        pending = Pending(lambda: client.get(TXID))
        start()
        assert pending.outcome(within=4) is None


def test_a_peer_that_vanishes_without_a_word_is_noticed(daemon_process, endpoint, monkeypatch):
    monkeypatch.setattr("protocol.client.connection.HEARTBEAT_MS", 50)
    monkeypatch.setattr("protocol.client.connection.HEARTBEAT_TIMEOUT_MS", 150)
    with Client(endpoint) as client:
        client.get(TXID)
        stop(daemon_process)
        with pytest.raises(NoAnswer, match="connection"):
            client.get(TXID, timeout=30)


def test_a_daemon_that_comes_and_goes_without_a_welcome_holds_up_no_call(start, endpoint):
    with Client(endpoint, grace=0.1) as client:
        for _ in range(6):  # by then the client waits for most of a second before it connects again
            daemon = start()
            daemon.answers_hello = False
            daemon.wait_for_handshakes(1)
            daemon.stop()
        begun = time.monotonic()
        with pytest.raises(NoAnswer):
            client.get(TXID, timeout=0.1)
        assert time.monotonic() - begun < 0.1 + 0.1 + 0.15
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
    wait_until(lambda: descriptors() <= before)  # ZeroMQ's are given back beside


def test_a_stale_answer_makes_the_client_shake_hands_anew(start, endpoint):
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
    monkeypatch.setattr("protocol.client.handshake.LOOK_PERIOD", 0.02)
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


def test_the_calls_of_64_threads_become_few_requests(start, endpoint):
    start()
    with Client(endpoint) as client:
        threads = [threading.Thread(target=lambda: [client.get(TXID) for _ in range(50)]) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.counters.items == 64 * 50
        assert client.counters.requests < 64 * 50 / 4


def test_the_calls_of_one_turn_of_the_loop_become_one_request(start, endpoint):
    daemon = start()

    async def run():
        async with AsyncClient(endpoint) as client:
            await client.get(TXID)
            results = await asyncio.gather(*[client.get(TXID) for _ in range(64)])
            assert results == [RESULTS["get"]] * 64
            # A turn that falls between two ticks makes two of it.
            assert 2 <= client.counters.requests <= 3

    asyncio.run(run())
    assert sum(request.header.count for request in daemon.requests) == 65


def test_many_beyond_the_limits_are_split_and_put_together_in_order(start, endpoint):
    daemon = start(lambda r: [r.well([{"n": item[0][0]} for item in r.items])], limits=Limits(7, 10_000, 10**9))
    with Client(endpoint) as client:
        outcomes = client.get_many([bytes([n]) * 32 for n in range(100)])
        assert [outcome.result["n"] for outcome in outcomes] == list(range(100))
    assert max(request.header.count for request in daemon.requests) == 7


def test_an_item_that_is_too_large_or_cannot_be_encoded_fails_alone_and_is_never_sent(start, endpoint):
    daemon = start(limits=Limits(100, 1000, 10**9))
    with Client(endpoint) as client:
        outcomes = client.outpoint_many([(TXID, 0), (object(), 1), (TXID, 2), (b"x" * 2000, 3), (TXID, 1 << 99)])
        assert [outcome.code for outcome in outcomes] == ["OK", "BAD_REQUEST", "OK", "TOO_LARGE", "BAD_REQUEST"]
        assert {outcome.error.executed for outcome in outcomes if outcome.error} == {"no"}
        with pytest.raises(UtxodError, match="BAD_REQUEST"):
            client.outpoint(object(), 0)
        with pytest.raises(UtxodError, match="BAD_REQUEST"):
            client.spend_transaction([SPEND, SPEND._replace(txid=object())])
    assert sorted(item[1] for request in daemon.requests for item in request.items) == [0, 2]


def test_no_items_are_no_request(start, endpoint):
    daemon = start()
    with Client(endpoint) as client:
        assert client.get_many([]) == []
        assert client.spend_transaction([]) == []
    assert daemon.requests == []


def test_an_items_error_is_raised_with_all_it_says(start, endpoint):
    spent = Error("SPENT", "no", "by another", 0, {"spending_txid": TXID, "spending_vin": 3})
    header = wire.pack_reply_header(wire.ReplyHeader(None, 1, {0: spent}))
    start(lambda request: [request.reply(header, wire.pack_body([None]))])
    with Client(endpoint) as client, pytest.raises(Spent, match="by another") as caught:
        client.spend(SPEND)
    assert (caught.value.code, caught.value.executed, caught.value.retry_after) == ("SPENT", "no", None)
    assert caught.value.details == {"spending_txid": TXID, "spending_vin": 3}


def test_a_retry_after_is_given_in_seconds(start, endpoint):
    start(lambda request: [request.fault(codes.OVERLOADED, retry_after=250)])
    with Client(endpoint) as client, pytest.raises(UtxodError) as caught:
        client.get(TXID)
    assert caught.value.retry_after == 0.25


def test_a_key_that_is_missing_shifts_no_other_outcome(start, endpoint):
    header = wire.pack_reply_header(wire.ReplyHeader(None, 3, {1: Error("TX_NOT_FOUND", "no")}))
    start(lambda request: [request.reply(header, wire.pack_body([[1, b"a"], None, [3, b"c"]]))])
    with Client(endpoint) as client:
        first, second, third = client.outpoint_many([(TXID, 0)] * 3)
    assert (first.result, third.result) == (Outpoint(1, b"a"), Outpoint(3, b"c"))
    assert isinstance(second.error, TxNotFound)


def test_a_result_of_the_wrong_shape_is_an_error_for_its_item_alone(start, endpoint):
    start(lambda request: [request.well([[1, b"a"], 7, [3, b"c"]])])
    with Client(endpoint) as client:
        outcomes = client.outpoint_many([(TXID, 0)] * 3)
    assert [(outcome.code, outcome.ok) for outcome in outcomes] == [("OK", True), ("INTERNAL", False), ("OK", True)]
    assert outcomes[1].error.executed == "unknown"


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([("LOCKED", "no", {"because": 1}), ("LOCKED", "no", {"because": 1, "held": [[TXID, 0]]})], "LOCKED"),
        ([("SPENT", "no", {"because": 0, "held": [[TXID, 0]]}), ("SPENT", "no", {"because": 0})], "SPENT"),
        ([("SPENT", "no", {"because": 0}), ("STORE_ERROR", "unknown", {"held": [[TXID, 0]]})], "STORE_ERROR"),
    ],
)
def test_a_transactions_refusal_is_raised_with_what_its_spender_has_and_an_unknown_before_all(
    start, endpoint, errors, code
):
    wired = {i: Error(name, executed, "", 0, details) for i, (name, executed, details) in enumerate(errors)}
    header = wire.pack_reply_header(wire.ReplyHeader(None, 2, wired))
    daemon = start(lambda request: [request.reply(header, wire.pack_body([None, None]))])
    with Client(endpoint) as client, pytest.raises(UtxodError) as caught:
        client.spend_transaction([SPEND, SPEND])
    assert caught.value.code == code
    assert caught.value.details["held"] == [[TXID, 0]]
    assert daemon.requests[0].header.flags == wire.ONE_TRANSACTION


def test_closing_fails_pending_calls_at_once(start, endpoint):
    daemon = start(answer_nothing)
    client = Client(endpoint)
    pending = [Pending(lambda: client.get(TXID, timeout=60)) for _ in range(4)]
    daemon.wait_for(1)
    begun = time.monotonic()
    client.close()
    errors = [call.outcome(within=2) for call in pending]
    assert time.monotonic() - begun < 1
    assert {type(error) for error in errors} <= {NoAnswer, ClientClosed}
    assert {"closed" in str(error) for error in errors} == {True}
    with pytest.raises(ClientClosed, match="closed"):
        client.get(TXID)
    client.close()


def test_closing_fails_pending_calls_at_once_with_asyncio_too(start, endpoint):
    daemon = start(answer_nothing)

    async def run():
        client = AsyncClient(endpoint)
        pending = [asyncio.create_task(client.get(TXID, timeout=60)) for _ in range(4)]
        await asyncio.to_thread(daemon.wait_for, 1)
        await client.close()
        errors = await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 1)
        assert {(type(error), "closed" in str(error)) for error in errors} == {(NoAnswer, True)}
        with pytest.raises(ClientClosed, match="closed"):
            await client.get(TXID)
        await client.close()

    asyncio.run(run())


def test_calls_that_meet_the_closing_are_settled_all_the_same(start, endpoint):
    start()
    for _ in range(20):
        client = Client(endpoint)
        pending = [Pending(lambda client=client: [client.get(TXID) for _ in range(1000)]) for _ in range(4)]
        client.close()
        assert {type(call.outcome(within=2)) for call in pending} <= {NoAnswer, ClientClosed}


def test_a_forked_copy_fails_at_once_and_leaves_its_parent_unharmed(start, endpoint):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                client.get(TXID)
            except ClientClosed as error:
                client.close()
                os.write(writer, str(error).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        assert os.waitpid(child, 0)[1] == 0
        assert b"fork" in os.read(reader, 200)
        os.close(reader)
        assert client.get(TXID) == RESULTS["get"]


def test_a_forked_copy_of_a_running_loop_fails_and_closes_at_once(start, endpoint):
    start()

    async def run():
        async with AsyncClient(endpoint) as client:
            await client.get(TXID)
            child = os.fork()
            if not child:
                status = 1
                try:
                    try:
                        await client.get(TXID)
                    except ClientClosed:
                        await client.close()
                        status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            assert await client.get(TXID) == RESULTS["get"]

    asyncio.run(run())


def test_a_cancelled_call_leaves_nothing_behind(start, endpoint):
    daemon = start(answer_nothing)

    async def run():
        async with AsyncClient(endpoint) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await asyncio.gather(*[client.get(TXID) for _ in range(100)])
            assert not client._driver.session.busy
            daemon.script = answer_well
            assert await client.get(TXID) == RESULTS["get"]

    asyncio.run(run())


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_bounds_nothing_is_refused(start, endpoint, timeout):
    start()
    with Client(endpoint) as client, pytest.raises(ValueError, match="timeout"):
        client.get(TXID, timeout=timeout)


def test_a_client_that_nobody_holds_any_more_ends_its_thread(start, endpoint):
    start()
    client = Client(endpoint)
    client.get(TXID)
    thread, gone = client._driver._thread, weakref.ref(client)
    del client
    gc.collect()
    thread.join(2)
    assert gone() is None
    assert not thread.is_alive()


def test_clients_and_lost_connections_leave_no_descriptors(start, endpoint):
    before = descriptors()
    with Client(endpoint) as client:
        for epoch in range(1, 4):
            daemon = start(epoch=epoch)
            client.get(TXID)
            daemon.stop()

    async def run():
        async with AsyncClient(endpoint) as client:
            daemon = start()
            await client.get(TXID)
            await asyncio.to_thread(daemon.stop)

    asyncio.run(run())
    assert descriptors() <= before


def test_a_body_of_many_megabytes_arrives_whole(start, endpoint):
    start(lambda request: [request.well([{"tx": item[0]} for item in request.items])])
    with Client(endpoint) as client:
        raw = os.urandom(20_000_000)
        assert client.get(raw)["tx"] == raw
