"""Each error tells the request that it was in, so that an operator can learn what became of it: of both clients,
however it was asked; and costs nothing where all goes well."""

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from protocol import AsyncClient, Client, ClientClosed, NoAnswer, Spent, UtxodError, codes, wire
from protocol.client.call import Call
from protocol.wire import Error, Limits
from tests.support.client_calls import MANY, ONE, SPEND, TXID
from tests.support.clock import over
from tests.support.patience import SOON, until
from tests.support.scripted_daemon import Request, answer_nothing

Ask = Callable[[Any], Any]


def blocking(endpoint: str, ask: Ask) -> Any:
    with Client(endpoint) as client:
        return ask(client)


def by_futures(endpoint: str, ask: Ask) -> Any:
    class Submitting:
        def __init__(self, client: Client) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._client, name)
            return lambda *arguments, **options: self._client.submit(method, *arguments, **options).result(90)

    with Client(endpoint) as client:
        return ask(Submitting(client))


def with_asyncio(endpoint: str, ask: Ask) -> Any:
    async def run() -> Any:
        async with AsyncClient(endpoint) as client:
            return await ask(client)

    return asyncio.run(run())


@pytest.fixture(params=[blocking, by_futures, with_asyncio])
def outcome(request, endpoint) -> Callable[[Ask], Any]:
    """What is made of an answer: what was given, or raised."""

    def of(ask: Ask) -> Any:
        try:
            return request.param(endpoint, ask)
        except UtxodError as error:
            return error

    return of


def crashed(request: Request) -> Iterable[list[bytes]]:
    return [request.fault(codes.WORKER_CRASHED, codes.UNKNOWN, message="its worker is gone")]


def one_by_one(answers: list[Callable[[Request], Iterable[list[bytes]]]]) -> Callable[[Request], Iterable[list[bytes]]]:
    def answer(request: Request) -> Iterable[list[bytes]]:
        return answers.pop(0)(request)

    return answer


def some_fail(request: Request) -> Iterable[list[bytes]]:
    errors = {index: Error(codes.SPENT, codes.NO) for index in range(1, len(request.items), 2)}
    header = wire.pack_reply_header(wire.ReplyHeader(None, len(request.items), errors))
    body = wire.pack_body([None if index in errors else True for index in range(len(request.items))])
    return [request.reply(header, body)]


@pytest.mark.parametrize("operation", [name for name in ONE if name != "status"])
def test_a_single_call_tells_its_request(start, outcome, operation):
    daemon = start(crashed)
    error = outcome(ONE[operation])
    assert error.request_id == f"{daemon.requests[-1].id.hex()}/0"
    assert str(error) == f"WORKER_CRASHED: its worker is gone (request {error.request_id})"


@pytest.mark.parametrize("operation", MANY)
def test_of_many_each_that_failed_tells_its_item(start, outcome, operation):
    daemon = start(crashed)
    outcomes = outcome(MANY[operation])
    request_id = daemon.requests[-1].id.hex()
    assert [each.error.request_id for each in outcomes] == [f"{request_id}/{index}" for index in range(3)]


def test_a_rejection_tells_it_too_but_not_in_its_text(start, outcome):
    daemon = start(some_fail)
    outcomes = outcome(lambda client: client.spend_many([SPEND] * 4))
    assert [each.ok for each in outcomes] == [True, False, True, False]
    error = outcomes[3].error
    assert type(error) is Spent
    assert error.request_id == f"{daemon.requests[-1].id.hex()}/3"
    assert str(error) == "SPENT"


def test_calls_that_travel_together_each_tell_their_own_items(wired):
    calls = [wired.ask(1, 2), wired.ask(3), wired.ask(4, 5, 6)]
    ((request_id, _, items),) = wired.requests()
    wired.reply(request_id, [None] * len(items), {index: Error("SPENT", "no") for index in range(len(items))})
    told = [call.id_of(index) for call in calls for index in range(call.count)]
    assert told == [f"{request_id.hex()}/{index}" for index in range(6)]


def test_of_a_call_that_was_split_each_item_tells_the_request_that_it_was_in(start, outcome):
    daemon = start(some_fail, limits=Limits(3, 1_000_000, 10**10))
    outcomes = outcome(lambda client: client.spend_many([SPEND] * 8))
    told = {request.id.hex() for request in daemon.requests}
    assert len(told) == 3
    failed = [each.error.request_id for each in outcomes if not each.ok]
    assert [text.split("/")[1] for text in failed] == ["1", "1", "1"]
    assert {text.split("/")[0] for text in failed} == told


def test_the_spends_of_one_transaction_tell_the_item_that_is_raised(start, outcome):
    def refuse(request: Request) -> Iterable[list[bytes]]:
        errors = {index: Error(codes.SPENT, codes.NO, "", 0, {"because": 1}) for index in range(len(request.items))}
        header = wire.pack_reply_header(wire.ReplyHeader(None, len(request.items), errors))
        return [request.reply(header, wire.pack_body([None] * len(request.items)))]

    daemon = start(refuse)
    error = outcome(lambda client: client.spend_transaction([SPEND] * 3))
    assert error.request_id == f"{daemon.requests[-1].id.hex()}/1"


@pytest.mark.parametrize("of", [blocking, with_asyncio])
def test_where_it_was_asked_again_the_last_attempt_of_which_nobody_knows_is_told(start, endpoint, of):
    """And those before it that may have been executed, too."""
    answers = [crashed, crashed, lambda request: [request.fault(codes.SPENT)]]
    daemon = start(one_by_one(answers))
    with pytest.raises(Spent) as caught:
        of(endpoint, lambda client: client.retry(client.spend, SPEND, within=30))
    ids = [request.id.hex() for request in daemon.requests]
    assert caught.value.executed == codes.UNKNOWN
    assert caught.value.request_id == f"{ids[1]}/0"
    assert f"asked before as {ids[0]}/0" in str(caught.value)


@pytest.mark.parametrize("of", [blocking, with_asyncio])
def test_what_was_refused_every_time_tells_the_last_attempt(start, endpoint, of):
    pauses = [10, 60_000]  # the next would be behind the end
    daemon = start(lambda request: [request.fault(codes.OVERLOADED, retry_after=pauses.pop(0))])
    with pytest.raises(UtxodError) as caught:
        of(endpoint, lambda client: client.retry(client.spend, SPEND, within=60))
    assert len(daemon.requests) == 2
    assert caught.value.request_id == f"{daemon.requests[-1].id.hex()}/0"
    assert "asked before" not in str(caught.value)


def test_what_nobody_answered_tells_it(start, outcome, clock):
    daemon = start(clock.passes(over(60)))
    error = outcome(lambda client: client.spend(SPEND, timeout=60))
    assert (type(error), error.executed) == (NoAnswer, codes.UNKNOWN)
    assert error.request_id == f"{daemon.requests[-1].id.hex()}/0"
    assert error.request_id in str(error)


def test_what_never_left_tells_none(outcome):
    error = outcome(lambda client: client.spend(SPEND, timeout=0.1))
    assert (type(error), error.executed, error.request_id) == (NoAnswer, codes.NO, "")
    assert "request" not in str(error)


def test_what_was_packed_for_an_earlier_epoch_and_never_left_tells_none(wired):
    call = wired.ask(1)
    frames = wired.send()
    wired.session.give_back(frames[0])
    wired.session.handshake.restart(wired.now)
    wired.epoch = 2
    wired.shake_hands()
    assert call.id_of(0) == ""
    assert wired.at(wired.now + 10) == [call]
    assert (call.errors[0].executed, call.id_of(0)) == (codes.NO, "")


def test_what_was_in_the_outbox_when_the_client_was_closed_tells_none(wired):
    first, second = wired.ask(1, operation="get"), wired.ask(2, operation="spend")
    assert wired.session.outgoing(wired.now) is not None  # packs both, sends one
    wired.session.close("closed")
    told = {call.errors[0].executed: call.id_of(0) for call in (first, second)}
    assert told[codes.NO] == ""
    assert told[codes.UNKNOWN]


def test_a_lost_connection_tells_what_was_sent(wired):
    call = wired.ask(1)
    ((request_id, _, _),) = wired.requests()
    wired.session.connection_lost(wired.now)
    assert call.id_of(0) == f"{request_id.hex()}/0"


def test_a_closed_client_tells_none(start, endpoint):
    start()
    client = Client(endpoint)
    client.close()
    with pytest.raises(ClientClosed) as caught:
        client.get(TXID)
    assert caught.value.request_id == ""


def test_a_result_that_can_not_be_read_tells_its_request(start, outcome):
    daemon = start(lambda request: [request.well([7])])
    error = outcome(lambda client: client.outpoint(TXID, 0))
    assert (error.code, error.request_id) == (codes.INTERNAL, f"{daemon.requests[-1].id.hex()}/0")


def test_it_survives_pickling(start, outcome):
    start(crashed)
    error = outcome(lambda client: client.spend(SPEND))
    again = pickle.loads(pickle.dumps(error))
    assert again.request_id == error.request_id
    assert str(again) == str(error)


def test_calls_that_go_well_are_told_nothing(start, outcome, monkeypatch):
    start()

    def never(*_: object) -> str:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(Call, "id_of", never)
    assert outcome(lambda client: client.spend(SPEND)) is True
    assert [each.ok for each in outcome(lambda client: client.spend_many([SPEND] * 3))] == [True] * 3


def test_what_is_given_up_where_nothing_runs_tells_it_though_it_was_split(start, endpoint, clock, monkeypatch):
    daemon = start(answer_nothing, limits=Limits(3, 1_000_000, 10**10))
    goes_on, stands = threading.Event(), threading.Event()
    with Client(endpoint) as client:
        future = client.submit(client.spend_many, [SPEND] * 8, timeout=60)
        until(lambda: len(daemon.requests) == 3)
        turn = client._driver._channel.turn
        with client._driver._turns:
            monkeypatch.setattr(client._driver._channel, "turn", lambda: (stands.set(), goes_on.wait(60), turn()))
        assert stands.wait(SOON)  # it is the idle thread's turn, and not one of the thread of futures

        def is_over() -> bool:  # on and on, as that thread may begin to look only now
            clock.now += 600
            return future.done()

        until(is_over)
        outcomes = future.result(0)
        goes_on.set()
    ids = [request.id.hex() for request in daemon.requests]
    assert {each.error.message for each in outcomes} == {"nothing that drives the client gets to run"}
    assert [each.error.request_id for each in outcomes] == [f"{ids[index // 3]}/{index % 3}" for index in range(8)]
