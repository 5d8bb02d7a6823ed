"""P14 for a program that uses the client, by what the program does: it is never aborted, frozen or blocked by it."""

import asyncio
import copy
import pickle
import threading

import pytest

from protocol import AsyncClient, Client, ClientClosed, NoAnswer
from protocol.wire import Limits
from tests.support.client_calls import TXID, Pending
from tests.support.interrupting import raising
from tests.support.leading import Handler, rests
from tests.support.patience import SOON
from tests.support.programs import output_of, start_program
from tests.support.scripted_daemon import RESULTS, answer_nothing

DROPPED = """
import asyncio, gc, os, time, warnings
from protocol import AsyncClient, Client

async def dropped():
    client = AsyncClient(ENDPOINT, timeout=60)
    client.itself = client  # only the garbage collector finds it
    await client.get(bytes(32))

def dropped_too():
    client = Client(ENDPOINT, timeout=60)
    client.itself = client
    client.get(bytes(32))

def told():
    return sum("dropped without being closed" in str(warning.message) for warning in warned)

with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    for _ in range(30):
        asyncio.run(dropped())
        dropped_too()
    while told() < 60:  # it does nothing while another thread collects
        gc.collect()
        time.sleep(0.01)
assert told() == 60, len(warned)
kept = AsyncClient  # and some are still there when the program ends, or forks
async def kept_open():
    global kept
    kept = AsyncClient(ENDPOINT, timeout=60)
    await kept.get(bytes(32))
asyncio.run(kept_open())
held = Client(ENDPOINT, timeout=60)
held.get(bytes(32))
child = os.fork()
if not child:
    del kept, held
    gc.collect()
    raise SystemExit(0)
assert os.waitpid(child, 0)[1] == 0
print(held.get(bytes(32)))
"""

# Clients of loops that never run again: what each way of dropping them has in front.
NEVER_AGAIN = """
import asyncio, contextlib, gc, os, threading
from protocol import AsyncClient, NoAnswer

async def opened(itself=False):
    client = AsyncClient(ENDPOINT, timeout=0.2)
    if itself:
        client.itself = client
    with contextlib.suppress(NoAnswer):
        await client.get(bytes(32))
    return client

def used():
    return len(os.listdir("/proc/self/fd"))

def freed():
    while used() > before:
        gc.collect()
        threading.Event().wait(0.01)

before = used()
"""
DROPPED_THEN_LOOP_CLOSED = """
for _ in range(5):
    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(opened())
    client = None
    loop.close()
    loop = None
    gc.collect()
"""
DROPPED_AND_LOOP_NEVER_CLOSED = """
for _ in range(5):
    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(opened())
    client = loop = None
    gc.collect()
"""
DROPPED_BY_ANOTHER_THREAD = """
for _ in range(5):
    loop = asyncio.new_event_loop()
    held = [loop.run_until_complete(opened())]
    other = threading.Thread(target=held.clear)
    other.start()
    other.join()
    loop = None
    gc.collect()
"""
DROPPED_IN_MANY_THREADS = """
async def left():
    await opened(itself=True)

def run():
    for _ in range(15):
        asyncio.run(left())
        gc.collect()

threads = [threading.Thread(target=run) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("there", [True, False], ids=["daemon", "no-daemon"])
@pytest.mark.parametrize(
    "dropped",
    [DROPPED_THEN_LOOP_CLOSED, DROPPED_AND_LOOP_NEVER_CLOSED, DROPPED_BY_ANOTHER_THREAD, DROPPED_IN_MANY_THREADS],
    ids=["closed", "never-closed", "another-thread", "many-threads"],
)
def test_a_dropped_client_whose_loop_never_runs_again_freezes_nothing(start, endpoint, dropped, there):
    if there:
        start()
    text = f"{NEVER_AGAIN}{dropped}freed()\nprint('alive')\n"
    assert output_of(start_program(text, endpoint)) == "alive"


def test_clients_that_are_dropped_are_closed_with_a_warning_and_freeze_nothing(start, endpoint):
    start()
    assert output_of(start_program(DROPPED, endpoint)) == str(RESULTS["get"])


def test_dropping_a_client_waits_for_nothing(start, endpoint, monkeypatch):
    start()
    client = Client(endpoint)
    client.get(TXID)
    thread, goes_on, stands = client._driver._thread, threading.Event(), threading.Event()
    monkeypatch.setattr(client._driver._channel, "turn", lambda: (stands.set(), goes_on.wait()))
    monkeypatch.setattr("protocol.client.thread_driver.CLOSE_WAIT", 3600)
    client._driver.wake()
    stands.wait()
    warned = pytest.warns(ResourceWarning, match="dropped")
    with warned:
        del client
    assert thread.is_alive()
    goes_on.set()
    thread.join(SOON)
    assert not thread.is_alive()


def test_a_call_in_another_event_loop_is_refused_and_nothing_of_it_is_sent(start, endpoint):
    daemon = start()

    async def elsewhere(client):
        with pytest.raises(ClientClosed, match="another event loop") as caught:
            await client.get(TXID)
        assert caught.value.executed == "no"

    async def run():
        async with AsyncClient(endpoint) as client:
            await client.get(TXID)
            await asyncio.to_thread(lambda: asyncio.run(elsewhere(client)))
            assert await client.get(TXID) == RESULTS["get"]
            return client

    client = asyncio.run(run())
    asyncio.run(elsewhere_after(client))
    assert len(daemon.requests) == 2


async def elsewhere_after(client):
    with pytest.raises(ClientClosed):
        await client.get(TXID)


def test_a_client_is_closed_from_another_event_loop_too(start, endpoint):
    start(answer_nothing)

    async def run():
        client = AsyncClient(endpoint)
        pending = asyncio.create_task(client.get(TXID, timeout=60))
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: asyncio.run(client.close()))
        with pytest.raises(NoAnswer, match="closed"):
            await pending
        await client.close()
        other = AsyncClient(endpoint)
        await asyncio.sleep(0)
        return other

    client = asyncio.run(run())
    asyncio.run(client.close())  # its own is closed
    while not client._driver._channel._context.closed:
        threading.Event().wait(0.005)


def test_an_interrupted_call_that_has_not_left_yet_never_does(start, endpoint, usr1):
    class Interrupted(BaseException):
        pass

    with Client(endpoint) as client:
        handler = Handler(client, raising(Interrupted))
        usr1(handler)
        beside = Pending(handler.signal)
        with pytest.raises(Interrupted):
            client.get(TXID, timeout=60)
        assert beside.outcome() is None
        daemon = start()
        assert client.outpoint(TXID, 0)
        assert [request.header.operation for request in daemon.requests] == ["outpoint"]


INTERRUPTED_OPENING = """
import asyncio, gc, os, threading
import zmq
from protocol import AsyncClient, Client

def used():
    return len(os.listdir("/proc/self/fd"))

async def opened():
    AsyncClient(ENDPOINT)

def interrupted(*_):
    raise KeyboardInterrupt

def freed():
    while used() > before:
        gc.collect()
        threading.Event().wait(0.01)

Client(ENDPOINT).close()
before = used()
"""
IN_THE_CHANNEL = """
zmq.Socket.get_monitor_socket = interrupted
for opens in (lambda: Client(ENDPOINT), lambda: asyncio.run(opened())):
    try:
        opens()
    except KeyboardInterrupt:
        print("interrupted")
    freed()
"""
IN_THE_STARTING = """
start, close, closing = threading.Thread.start, zmq.Socket.close, set()

def closed(socket, *arguments):
    closing.add(threading.current_thread().name)
    close(socket, *arguments)

def started(thread):
    start(thread)
    if thread.name == "utxod-client":
        zmq.Socket.close = closed
        raise KeyboardInterrupt

threading.Thread.start = started
try:
    Client(ENDPOINT)
except KeyboardInterrupt:
    print("interrupted")
freed()
assert closing == {"utxod-client"}, closing
print("interrupted")
"""


@pytest.mark.parametrize("where", [IN_THE_CHANNEL, IN_THE_STARTING], ids=["channel", "starting"])
def test_an_opening_that_is_interrupted_raises_at_once_and_leaves_nothing(endpoint, where):
    assert output_of(start_program(INTERRUPTED_OPENING + where, endpoint)).split() == ["interrupted"] * 2


AT_THE_END = """
from protocol import Client, ClientClosed

class Last:
    def __init__(self):
        self.client = Client(ENDPOINT, timeout=3600)
        self.client.get(bytes(32))

    def __del__(self, refused=ClientClosed):
        try:
            self.client.get(bytes(32))
        except refused as error:
            print(error.executed, error)
        self.client.close()

last = Last()
"""


def test_a_call_while_the_program_ends_is_refused_at_once(start, endpoint):
    start()
    assert output_of(start_program(AT_THE_END, endpoint)).startswith("no NO_ANSWER: the program ends")


def test_a_client_that_fails_inside_settles_every_call(start, endpoint, monkeypatch):
    start()

    def fails(*_):
        raise MemoryError("none is left")

    with Client(endpoint) as client:
        client.get(TXID)
        with monkeypatch.context() as patch:
            patch.setattr("protocol.wire.pack_request_header", fails)
            for _ in range(3):
                rests(client)
                with pytest.raises(MemoryError, match="none is left"):  # its thread's own: it is in its callers' hands
                    client.get(TXID, timeout=60)
        assert client.get(TXID, timeout=60)
    monkeypatch.setattr("protocol.wire.pack_request_header", fails)

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with AsyncClient(endpoint) as client:
            errors = await asyncio.gather(*[client.get(TXID, timeout=60) for _ in range(3)], return_exceptions=True)
            assert {type(error) for error in errors} == {NoAnswer}
            with pytest.raises(ClientClosed, match="none is left"):
                await client.get(TXID, timeout=60)

    asyncio.run(run())


def test_many_answers_at_once_leave_the_program_its_turn(start, endpoint, monkeypatch):
    monkeypatch.setattr("protocol.client.connection.RECEIVE_SECONDS", 0)  # one by one
    waiting = []

    def together(request):
        waiting.append(request.well())
        return waiting if len(waiting) == 50 else []

    start(together, limits=Limits(1, 10_000, 10**9))

    async def run():
        turns = 0

        async def program():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async with AsyncClient(endpoint) as client:
            calls = [asyncio.create_task(client.get(TXID, timeout=60)) for _ in range(50)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            beside = asyncio.create_task(program())
            assert await asyncio.gather(*calls) == [RESULTS["get"]] * 50
            beside.cancel()
        return turns

    assert asyncio.run(run()) >= 40


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_client_cannot_be_copied(endpoint, way):
    with Client(endpoint) as client, pytest.raises(TypeError, match="open another"):
        way(client)

    async def run():
        async with AsyncClient(endpoint) as client:
            with pytest.raises(TypeError, match="open another"):
                way(client)

    asyncio.run(run())
