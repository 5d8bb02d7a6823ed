"""Answers that have come, and take longer to be read than one turn reads: each is read before its call is given up; but
what comes without end keeps no deadline from being kept."""

import asyncio
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from protocol import AsyncClient, Client, NoAnswer
from protocol.client.connection import RECEIVE_SECONDS, Connection
from protocol.client.promises import LOOK
from protocol.client.shared_poll import SharedPoll
from protocol.wire import Limits
from tests.support.client_calls import TXID, Pending, has_sent
from tests.support.clock import Clock, over
from tests.support.leading import FOR_EVER, leads
from tests.support.patience import SOON, until
from tests.support.scripted_daemon import RESULTS, answer_nothing, answering_after

COUNT = 20
ONE_BY_ONE = Limits(1, 10_000, 10**9)
STANDSTILL = 600.0  # seconds

Slow = Callable[[Iterable[list[bytes]]], None]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Slow:
    """These messages have come, and each takes longer to be read than one turn reads. Behind them it is as ever. The
    client has nothing to send meanwhile, which would have it look whether any have come indeed."""
    monkeypatch.setattr("protocol.client.handshake.SAMPLE_PERIOD", math.inf)

    def given(messages: Iterable[list[bytes]]) -> None:
        left, receive = iter(messages), Connection._receive

        def slowly(connection: Connection) -> list[bytes]:
            message = next(left, None)
            clock.now += 0 if message is None else 2 * RECEIVE_SECONDS
            return receive(connection) if message is None else message

        monkeypatch.setattr(Connection, "_receive", slowly)

    return given


@pytest.fixture
def listens() -> Iterator[threading.Event]:
    """The daemon answers from then on; when the test is over, at the latest."""
    event = threading.Event()
    yield event
    event.set()


def come(client: Client | AsyncClient) -> list[list[bytes]]:
    """The answers to all calls, once they are there."""
    connection = client._driver._channel._connection
    assert connection is not None
    messages: list[list[bytes]] = []

    def have() -> bool:
        messages.extend(filter(None, [connection._receive()]))
        return len(messages) == client.counters.requests

    until(have)
    return messages


def asked(client: Client, how: str) -> list[Callable[[], BaseException | None]]:
    """Calls, each as what gives its outcome."""
    if how == "futures":
        futures = [client.submit(client.get, TXID, timeout=60) for _ in range(COUNT)]
        return [lambda future=future: future.exception(60) for future in futures]
    pending = [Pending(lambda: client.get(TXID, timeout=60)) for _ in range(COUNT)]
    return [lambda each=each: each.outcome(within=60) for each in pending]


@pytest.mark.parametrize("how", ["calls", "futures"])
def test_no_call_is_given_up_whose_answer_lies_there_unread(start, endpoint, clock, slow, listens, how):
    """As where the process stood still, and then has a lot to read."""
    start(answering_after(listens), limits=ONE_BY_ONE)
    with Client(endpoint) as client:
        outcomes = asked(client, how)
        until(lambda: has_sent(client, COUNT))
        with client._driver._turns:
            listens.set()
            slow(come(client))
            clock.now += STANDSTILL
        assert [outcome() for outcome in outcomes] == [None] * COUNT


def test_no_call_is_given_up_whose_answer_lies_there_unread_by_callers_that_look_themselves(
    start, endpoint, clock, slow, listens, monkeypatch
):
    """As where the process stood still, and neither their leader nor the idle thread is the first to go on."""
    goes_on, stands = threading.Event(), threading.Event()
    monkeypatch.setattr(SharedPoll, "wait_idle", lambda *_: goes_on.wait(60))
    start(answering_after(listens), limits=ONE_BY_ONE)
    with Client(endpoint) as client:
        leader = leads(client, lambda: client.get(TXID, timeout=FOR_EVER))
        pending = [Pending(lambda: client.get(TXID, timeout=60)) for _ in range(COUNT)]
        until(lambda: has_sent(client, COUNT + 1))
        wait = client._driver._poll.wait

        def oversleeps(seconds):
            if threading.current_thread() is leader.thread:
                stands.set()
                goes_on.wait(60)
            wait(seconds)

        monkeypatch.setattr(client._driver._poll, "wait", oversleeps)
        assert stands.wait(SOON)
        with client._driver._turns:
            listens.set()
            slow(come(client))
            clock.now += STANDSTILL

        def all_are_told() -> bool:
            clock.now += 2 * LOOK
            return not any(each.thread.is_alive() for each in pending)

        until(all_are_told)
        goes_on.set()
        assert [each.error for each in pending] == [None] * COUNT


def test_no_call_is_given_up_whose_answer_lies_there_unread_with_asyncio_too(start, endpoint, clock, slow, listens):
    start(answering_after(listens), limits=ONE_BY_ONE)

    async def run():
        async with AsyncClient(endpoint) as client:
            calls = [asyncio.create_task(client.get(TXID, timeout=60)) for _ in range(COUNT)]
            while client.counters.requests < COUNT:
                await asyncio.sleep(0)
            listens.set()
            slow(come(client))
            clock.now += STANDSTILL
            assert await asyncio.gather(*calls) == [RESULTS["get"]] * COUNT

    asyncio.run(run())


@pytest.mark.parametrize("how", ["calls", "futures"])
def test_what_comes_without_end_keeps_no_deadline_from_being_kept(start, endpoint, clock, slow, how):
    start(answer_nothing, limits=ONE_BY_ONE)
    with Client(endpoint) as client:
        outcomes = asked(client, how)
        until(lambda: has_sent(client, COUNT))
        with client._driver._turns:
            slow(itertools.repeat([b"nonsense"]))
            clock.now += over(60)
        errors = [outcome() for outcome in outcomes]
        assert {(type(error), error.message) for error in errors} == {(NoAnswer, "no answer in time")}


def test_what_comes_without_end_keeps_no_deadline_from_being_kept_with_asyncio_too(start, endpoint, clock, slow):
    daemon = start(answer_nothing)

    async def run():
        async with AsyncClient(endpoint) as client:
            pending = asyncio.create_task(client.get(TXID, timeout=60))
            await asyncio.to_thread(daemon.wait_for, 1)
            slow(itertools.repeat([b"nonsense"]))
            clock.now += over(60)
            with pytest.raises(NoAnswer, match="in time"):
                await asyncio.wait_for(pending, 60)

    asyncio.run(run())
