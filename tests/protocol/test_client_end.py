"""How clients end: closed, forked, cancelled or forgotten, with calls under way; nothing is left of them."""

import asyncio
import gc
import os
import time
import weakref

import pytest

from protocol import AsyncClient, Client, ClientClosed, NoAnswer
from tests.support.client_calls import TXID, Pending, descriptors
from tests.support.patience import SOON, until
from tests.support.scripted_daemon import RESULTS, answer_nothing, answer_well


def test_closing_fails_pending_calls_at_once(start, endpoint):
    daemon = start(answer_nothing)
    client = Client(endpoint)
    pending = [Pending(lambda: client.get(TXID, timeout=60)) for _ in range(4)]
    daemon.wait_for(1)
    begun = time.monotonic()
    client.close()
    errors = [call.outcome() for call in pending]
    assert time.monotonic() - begun < SOON
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
        errors = await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), SOON)
        assert {(type(error), "closed" in str(error)) for error in errors} == {(NoAnswer, True)}
        with pytest.raises(ClientClosed, match="closed"):
            await client.get(TXID)
        await client.close()

    asyncio.run(run())


def asks_on(client):
    while True:
        client.get(TXID)


def test_calls_that_meet_the_closing_are_settled_all_the_same(start, endpoint):
    start()
    for _ in range(20):
        client = Client(endpoint)
        pending = [Pending(lambda client=client: asks_on(client)) for _ in range(4)]
        client.close()
        assert {type(call.outcome()) for call in pending} <= {NoAnswer, ClientClosed}


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


def test_an_interrupted_turn_of_the_loop_leaves_no_call_waiting(start, endpoint, monkeypatch):
    start()
    loop = asyncio.new_event_loop()

    def interrupted(_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    async def opened():
        client = AsyncClient(endpoint)
        await client.get(TXID)
        return client, asyncio.ensure_future(client.get(TXID, timeout=60))

    async def closed():
        assert await asyncio.wait_for(pending, 30) == RESULTS["get"]
        assert await client.get(TXID) == RESULTS["get"]
        await client.close()

    client, pending = loop.run_until_complete(opened())
    monkeypatch.setattr(client._driver.session, "_collect", interrupted)  # its answer has been taken
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(pending)
    loop.run_until_complete(closed())
    loop.close()


def test_a_client_that_nobody_holds_any_more_ends_its_thread(start, endpoint):
    start()
    client = Client(endpoint)
    client.get(TXID)
    thread, gone = client._driver._thread, weakref.ref(client)
    del client
    gc.collect()
    thread.join(SOON)
    assert gone() is None
    assert not thread.is_alive()


def test_clients_and_lost_connections_leave_no_descriptors(start, endpoint):
    before = descriptors()
    with Client(endpoint) as client:
        for epoch in range(1, 4):
            daemon = start(epoch=epoch)
            client.get(TXID)
            daemon.stop()
            until(lambda epoch=epoch: client.counters.connections_lost == epoch)

    async def run():
        async with AsyncClient(endpoint) as client:
            daemon = start()
            await client.get(TXID)
            await asyncio.to_thread(daemon.stop)

    asyncio.run(run())
    until(lambda: descriptors() <= before)  # ZeroMQ's are given back beside
