"""What calls give, of both clients, against a daemon that follows a script, over real sockets."""

import asyncio
import os

import pytest

from protocol import (
    Accepted,
    AsyncClient,
    Client,
    Conflict,
    Incremented,
    Outpoint,
    Spent,
    TxNotFound,
    Utxo,
    UtxodError,
    codes,
    wire,
)
from protocol.wire import Error, Limits
from tests.support.client_calls import MANY, ONE, SPEND, TXID, Pending
from tests.support.patience import until
from tests.support.scripted_daemon import RESULTS

MADE_OF_RESULTS = {
    "outpoint": Outpoint(5000, b"script"),
    "increment": Incremented(None, 3),
    "accept": Accepted(True, False, {"records": 1}),
    "utxo": Utxo(5, b"script", b"hash", "IMMATURE", spendable_from=200),
    "set_conflicting": Conflict([(b"parent", 1)], [b"spender"]),
}


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
    assert result == ([wanted] if operation == "spend_transaction" else MADE_OF_RESULTS.get(operation, wanted))


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


WRONG = {"utxo": [{"satoshis": 5}, [5], None], "accept": [{}, 7, [True]], "set_conflicting": [[[[1]], []], 7, {}]}


@pytest.mark.parametrize("operation", WRONG)
def test_a_result_that_is_not_what_its_operation_gives_is_an_error_for_its_item(start, endpoint, operation):
    start(lambda request: [request.well(WRONG[operation])])
    with Client(endpoint) as client:
        outcomes = MANY[operation](client)
    assert [(outcome.code, outcome.error.executed) for outcome in outcomes] == [("INTERNAL", "unknown")] * 3


def test_the_calls_of_64_threads_become_one_request(start, endpoint, clock):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        with client._driver._turns:  # nobody gets to send meanwhile
            pending = [Pending(lambda: client.get(TXID)) for _ in range(64)]
            until(lambda: len(client._driver._handed) == 64)
        assert [each.outcome(within=60) for each in pending] == [None] * 64
        assert (client.counters.items, client.counters.requests) == (65, 2)


def test_the_calls_of_one_turn_of_the_loop_become_one_request(start, endpoint, clock):
    daemon = start()

    async def run():
        async with AsyncClient(endpoint) as client:
            await client.get(TXID)
            results = await asyncio.gather(*[client.get(TXID) for _ in range(64)])
            assert results == [RESULTS["get"]] * 64
            assert client.counters.requests == 2

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


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_bounds_nothing_is_refused(start, endpoint, timeout):
    start()
    with Client(endpoint) as client, pytest.raises(ValueError, match="timeout"):
        client.get(TXID, timeout=timeout)


def test_a_body_of_many_megabytes_arrives_whole(start, endpoint):
    start(lambda request: [request.well([{"tx": item[0]} for item in request.items])])
    with Client(endpoint) as client:
        raw = os.urandom(20_000_000)
        assert client.get(raw)["tx"] == raw
