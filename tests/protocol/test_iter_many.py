"""Both clients' `iter_many`: long inputs in bounded memory, outcomes in order, and nothing under way behind it."""

import asyncio
import contextlib
import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from protocol import AcceptItem, AsyncClient, Client, ClientClosed, CreateItem, NoAnswer, Outcome
from protocol.client.asynchronous.iterating import AHEAD
from protocol.client.batches import BATCH_BYTES, BATCH_ITEMS, Batches
from tests.support.client_calls import TXID, Pending
from tests.support.interrupting import interrupts, raising
from tests.support.patience import until
from tests.support.scripted_daemon import RESULTS, Request, answer_nothing, answer_well

MOST = (AHEAD + 1) * BATCH_ITEMS  # the furthest that the input may be ahead of the outcomes


def blocking(endpoint: str, method: str, items: Iterable[Any], **options: Any) -> Iterator[Outcome[Any]]:
    with Client(endpoint, grace=0.1) as client:
        yield from client.iter_many(getattr(client, method), items, **options)
        assert not client._driver._asked


def with_asyncio(endpoint: str, method: str, items: Iterable[Any], **options: Any) -> Iterator[Outcome[Any]]:
    """One outcome at a time, from a loop of its own."""
    with asyncio.Runner() as runner:

        async def opened() -> AsyncClient:
            return AsyncClient(endpoint, grace=0.1)

        client = runner.run(opened())
        outcomes = client.iter_many(getattr(client, method), items, **options)
        try:
            while True:
                try:
                    yield runner.run(anext(outcomes))
                except StopAsyncIteration:
                    break
            assert not client._driver._asked
        finally:
            runner.run(client.close())


@pytest.fixture(params=[blocking, with_asyncio])
def iter_many(request, endpoint) -> Callable[..., Iterator[Outcome[Any]]]:
    return lambda *given, **named: request.param(endpoint, *given, **named)


def echo(request: Request) -> list[list[bytes]]:
    """Each outpoint's vout, as its value."""
    return [request.well([[item[1], b""] for item in request.items])]


class Counted:
    """Outpoints of one transaction, as many as there are numbers below `end`. taken: how many by now."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.taken = 0

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        for vout in range(self.end):
            self.taken += 1
            yield TXID, vout


def test_outcomes_come_in_the_order_of_the_items_and_the_input_is_never_far_ahead(start, iter_many):
    daemon = start(echo)
    items = Counted(MOST + BATCH_ITEMS)
    for number, outcome in enumerate(iter_many("outpoint_many", items)):
        assert outcome.result.satoshis == number
        assert items.taken - number <= MOST
    assert number + 1 == items.end
    assert sum(request.header.count for request in daemon.requests) == items.end


def test_the_next_batches_are_under_way_while_the_consumer_is_slow(start, iter_many, clock):
    daemon = start(echo)
    items = Counted(1_000_000)
    outcomes = iter_many("outpoint_many", items)
    next(outcomes)
    until(lambda: sum(request.header.count for request in daemon.requests) == AHEAD * BATCH_ITEMS)
    assert items.taken == AHEAD * BATCH_ITEMS
    assert [next(outcomes).result.satoshis for _ in range(3)] == [1, 2, 3]
    outcomes.close()
    assert items.taken == AHEAD * BATCH_ITEMS


def test_an_endless_input_is_taken_as_it_is_needed(start, iter_many):
    start(echo)
    outcomes = iter_many("outpoint_many", ((TXID, vout % 1000) for vout in itertools.count()))
    assert [outcome.result.satoshis for outcome in itertools.islice(outcomes, 6_000)] == [*range(1000)] * 6
    outcomes.close()


def test_an_empty_input_is_no_request(start, iter_many):
    daemon = start()
    assert list(iter_many("spend_many", [])) == []
    assert not daemon.requests


def test_what_the_input_raises_comes_after_the_outcomes_before_it(start, iter_many):
    start(echo)

    def breaks() -> Iterator[tuple[bytes, int]]:
        yield from ((TXID, vout) for vout in range(2500))
        raise LookupError("the input is damaged")

    outcomes = iter_many("outpoint_many", breaks())
    assert [next(outcomes).result.satoshis for _ in range(2500)] == list(range(2500))
    with pytest.raises(LookupError, match="damaged"):
        next(outcomes)


def test_an_items_error_is_in_its_outcome_and_the_options_are_the_methods(start, iter_many, clock):
    daemon = start()
    bad = [TXID, object(), TXID]
    assert [outcome.code for outcome in iter_many("get_many", bad, fields=["fee"])] == ["OK", "BAD_REQUEST", "OK"]
    assert [outcome.code for outcome in iter_many("get_many", [object()])] == ["BAD_REQUEST"]
    assert [request.items for request in daemon.requests] == [[[TXID, ["fee"]]] * 2]
    with pytest.raises(TypeError, match="unheard_of"):
        next(iter_many("get_many", [TXID], unheard_of=1))


def test_a_batch_ends_by_its_own_timeout(start, iter_many):
    daemon = start(answer_nothing)
    outcomes = iter_many("outpoint_many", Counted(3), timeout=0.1)
    assert [outcome.code for outcome in outcomes] == ["NO_ANSWER"] * 3
    daemon.script = echo
    assert [outcome.code for outcome in iter_many("outpoint_many", Counted(3), timeout=60)] == ["OK"] * 3


def test_a_batch_is_bounded_in_items_in_bytes_and_in_time(monkeypatch):
    monkeypatch.setattr("protocol.client.batches.GATHER", 3600)
    batches = Batches(Counted(BATCH_ITEMS + 5))
    assert [(len(batches.next()), batches.full) for _ in range(3)] == [(BATCH_ITEMS, True), (5, False), (0, False)]
    assert batches.over
    raw = bytes(BATCH_BYTES // 4)
    for item in (CreateItem.whole(raw, block_height=1), AcceptItem.of(raw, block_height=1), raw):
        assert len(Batches(itertools.repeat(item)).next()) == 4
    monkeypatch.setattr("protocol.client.batches.GATHER", 0)  # over before the first item comes
    slow = Batches(Counted(3))
    assert [len(slow.next()) for _ in range(3)] == [1, 1, 1]


def test_a_slow_input_is_not_waited_for_with_outcomes_at_hand(start, iter_many):
    """The outcome of the first item is there before the second one comes."""
    start(echo)
    seen = threading.Event()

    def slow() -> Iterator[tuple[bytes, int]]:
        yield TXID, 0
        threading.Event().wait(0.1)  # longer than a batch is gathered
        yield TXID, 1
        assert seen.wait(30)
        yield TXID, 2

    for outcome in iter_many("outpoint_many", slow()):
        assert outcome.ok
        seen.set()


def test_a_daemon_that_is_started_anew_meanwhile_costs_what_was_under_way(start, iter_many, endpoint):
    daemon = start(echo)
    outcomes = iter_many("outpoint_many", Counted(20_000), timeout=60)
    found = [next(outcomes) for _ in range(1500)]
    daemon.stop()
    start(echo, epoch=2)
    found += outcomes
    assert [outcome.result.satoshis for outcome in found if outcome.ok] == [
        number for number, outcome in enumerate(found) if outcome.ok
    ]
    lost = [number for number, outcome in enumerate(found) if not outcome.ok]
    assert len(found) == 20_000
    assert len(lost) <= MOST
    assert {found[number].code for number in lost} <= {"NO_ANSWER"}


def test_callers_that_iterate_side_by_side_are_told_of_all_that_comes(start, endpoint, told_only):
    """Each of many wake-ups that was lost would last for ever."""
    start(lambda request: echo(request) if request.header.operation == "outpoint" else answer_well(request))
    with Client(endpoint) as client:

        def iterates() -> None:
            for _ in range(60):
                found = client.iter_many(client.outpoint_many, Counted(5), timeout=60)
                assert [outcome.result.satoshis for outcome in found] == [0, 1, 2, 3, 4]
                client.get(TXID, timeout=60)

        iterates()
        pending = [Pending(iterates) for _ in range(6)]
        assert [each.outcome(within=100) for each in pending] == [None] * 6
        assert not client._driver._asked


def first_only(request: Request) -> list[list[bytes]]:
    """Answers the batch that begins with output 0, and no other."""
    return echo(request) if request.items[0][1] == 0 else []


def test_a_generator_that_is_closed_leaves_nothing_under_way(start, endpoint, clock):
    daemon = start(first_only)
    with Client(endpoint) as client:
        outcomes = client.iter_many(client.outpoint_many, Counted(100_000), timeout=60)
        next(outcomes)
        assert client._driver._asked
        outcomes.close()
        assert not client._driver._asked
        until(lambda: not client._driver.session.busy)
        daemon.script = answer_well
        assert client.get(TXID, timeout=60)

    async def run():
        daemon.script = first_only
        async with AsyncClient(endpoint) as client:
            async with contextlib.aclosing(
                client.iter_many(client.outpoint_many, Counted(100_000), timeout=60)
            ) as outcomes:
                await anext(outcomes)
                assert client._driver._asked
            assert not client._driver._asked
            assert not client._driver.session.busy

    asyncio.run(run())


def test_a_generator_that_is_dropped_leaves_nothing_under_way(start, endpoint):
    start(first_only)
    with Client(endpoint) as client:
        outcomes = client.iter_many(client.outpoint_many, Counted(100_000), timeout=60)
        next(outcomes)
        del outcomes
        gc.collect()
        assert not client._driver._asked
        until(lambda: not client._driver.session.busy)

    async def run():
        async with AsyncClient(endpoint) as client:
            async for _ in client.iter_many(client.outpoint_many, Counted(100_000), timeout=60):
                break
            gc.collect()
            while client._driver._asked:
                await asyncio.sleep(0)
            assert not client._driver.session.busy

    asyncio.run(run())


def test_a_cancelled_iteration_leaves_nothing_under_way(start, endpoint):
    daemon = start(first_only)

    async def run():
        async with AsyncClient(endpoint) as client:

            async def iterates():
                return [each async for each in client.iter_many(client.outpoint_many, Counted(10**6), timeout=60)]

            task = asyncio.create_task(iterates())
            await asyncio.to_thread(daemon.wait_for, 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gc.collect()
            while client._driver._asked:
                await asyncio.sleep(0)
            assert not client._driver.session.busy

    asyncio.run(run())


def add_codes(outcomes: Iterable[Outcome[Any]], found: list[str]) -> None:
    for outcome in outcomes:
        found.append(outcome.code)


def test_closing_the_client_ends_it_after_the_outcomes_of_what_was_under_way(start, endpoint, clock):
    start(first_only)
    client = Client(endpoint)
    outcomes = client.iter_many(client.outpoint_many, Counted(100_000), timeout=60)
    assert next(outcomes).ok
    client.close()
    found: list[str] = []
    with pytest.raises(ClientClosed):
        add_codes(outcomes, found)
    answered = found.index("NO_ANSWER")
    assert answered >= BATCH_ITEMS - 1
    assert set(found[:answered]) == {"OK"}
    assert set(found[answered:]) == {"NO_ANSWER"}


def test_a_generator_keeps_its_client_open(start, endpoint):
    start(echo)
    client = Client(endpoint)
    gone = weakref.ref(client)
    outcomes = client.iter_many(client.outpoint_many, Counted(10_000), timeout=60)
    del client
    with pytest.warns(ResourceWarning, match="dropped"):
        assert sum(outcome.ok for outcome in outcomes) == 10_000
    assert gone() is None


def test_only_a_method_for_many_items_is_taken(endpoint):
    with Client(endpoint) as client:
        for method in (client.get, client.spend_transaction, client.close, len):
            with pytest.raises(TypeError, match=r"client\.get"):
                client.iter_many(method, [])


@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeoutError])
def test_an_interrupt_at_any_point_leaves_nothing_under_way(start, endpoint, raised):
    start()
    with Client(endpoint) as client:
        client.get(TXID)
        for interrupt in interrupts(raising(raised), step=11):
            with contextlib.suppress(raised, NoAnswer), interrupt:
                list(client.iter_many(client.get_many, [TXID] * 3, timeout=60))
            gc.collect()
            assert client.get(TXID, timeout=60) == RESULTS["get"]
            assert not client._driver._asked
