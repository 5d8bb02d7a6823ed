"""P14 for a program that uses the client, by its surroundings: descriptors and name servers."""

import asyncio
import contextlib
import itertools
import random
import socket
import threading
import time
from pathlib import Path

import pytest
import zmq

from protocol import AsyncClient, Client, NoAnswer
from tests.support.patience import SOON, until
from tests.support.programs import output_of, start_program
from tests.support.scripted_daemon import RESULTS, ScriptedDaemon

TXID = b"\x11" * 32
REAL_LOOKUP = socket.getaddrinfo
IPV4, IPV6 = "127.0.0.1", "::1"

# What a program does once it has no descriptors left. ENDPOINT is in front of each.
FEW_DESCRIPTORS = """
import asyncio, errno, os, resource, socket
from protocol import AsyncClient, Client

def used():
    return len(os.listdir("/proc/self/fd"))

async def opened():
    async with AsyncClient(ENDPOINT, timeout=60) as client:
        await client.get(bytes(32))

def both():
    with Client(ENDPOINT, timeout=60) as client:
        client.get(bytes(32))
    asyncio.run(opened())

both()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
loop = asyncio.new_event_loop()  # it has some of its own
before = used()
for left in range(16):
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for descriptor in taken[:left]:
        os.close(descriptor)
    refused = []
    for kind in (lambda: Client(ENDPOINT).close(), lambda: loop.run_until_complete(opened())):
        try:
            kind()
        except OSError as error:
            assert error.errno == errno.EMFILE and "13 file descriptors" in str(error), error
            refused.append(left)
    for descriptor in taken[left:]:
        os.close(descriptor)
    assert refused == ([left] * 2 if left < 13 else []), (left, refused)
    assert used() == before, (left, used(), before)
loop.close()
both()
print("alive")
"""
FEW_THREADS = """
import asyncio, errno, os, resource, sys
from protocol import AsyncClient, Client

async def opened():
    async with AsyncClient(ENDPOINT):
        pass

def limited(limit):
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    try:
        Client(ENDPOINT).close()
        asyncio.run(opened())
    except OSError as error:
        return limit < 30 and error.errno == errno.EAGAIN and "threads" in str(error)
    return limit > 1

root = not os.getuid()  # whom such a limit does not bind: a user is made up, who runs nothing else
for limit in [*range(1, 11), 30] if root else [1]:
    child = os.fork()
    if not child:
        try:
            if root:
                try:
                    os.setuid(60_000 + os.getpid() % 5_000)
                except OSError:  # there are no others here
                    os._exit(0)
            os._exit(not limited(limit))
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0, limit
print("alive")
"""
NONE_LEFT = """
import os, resource
from protocol import Client, UtxodError
client = Client(ENDPOINT, timeout=60)
client.get(bytes(32))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print("none left", flush=True)
input()  # another daemon is there by now
for _ in range(10):
    try:
        client.get(bytes(32), timeout=0.1)
    except UtxodError:
        pass
for descriptor in taken:
    os.close(descriptor)
print(client.get(bytes(32)))
client.close()
"""


def can_listen(address: str, port: int = 0) -> bool:
    try:
        with socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET):
            return True
    except OSError:
        return False


def port_to_come_back_to(address: str) -> int:
    """The system gives it to nobody while no daemon listens there: else a client may be given it, and find itself."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = iter(lambda: random.randrange(10_000, max(given, 20_000)), None)
    return next(port for port in ports if can_listen(address, port))


@pytest.fixture
def silent(monkeypatch):
    """A name server that says nothing, until the test is over."""
    over = threading.Event()
    asked = threading.Event()

    def lookup(*_, **__):
        asked.set()
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    yield asked
    over.set()


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_too_few_descriptors_are_an_error_and_leave_nothing_open(start, endpoint, transport):
    daemon = start() if transport == "ipc" else ScriptedDaemon("tcp://127.0.0.1:*")
    try:
        assert output_of(start_program(FEW_DESCRIPTORS, daemon.endpoint)) == "alive"
    finally:
        daemon.stop()


def test_too_few_threads_are_an_error(endpoint):
    assert output_of(start_program(FEW_THREADS, endpoint)) == "alive"


def test_a_client_outlives_a_time_without_descriptors_and_a_lost_connection_in_it(start, endpoint):
    first = start()
    process = start_program(NONE_LEFT, endpoint)
    assert process.stdout.readline() == "none left\n"
    first.stop()
    start(epoch=2)
    assert output_of(process, "\n") == str(RESULTS["get"])


@pytest.mark.parametrize("address", [IPV4, IPV6])
@pytest.mark.parametrize("first", [IPV4, IPV6])
def test_a_daemon_is_found_under_localhost_whichever_of_its_addresses_it_listens_at(monkeypatch, address, first):
    if not can_listen(address):
        pytest.skip(f"this host has no {address}")

    def lookup(host, *arguments, **options):
        assert host == "localhost"
        return [
            entry
            for address in (first, IPV6 if first == IPV4 else IPV4)
            for entry in REAL_LOOKUP(address, *arguments, **options)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    port = port_to_come_back_to(address)
    daemon = ScriptedDaemon(f"tcp://{f'[{address}]' if ':' in address else address}:{port}")
    try:
        with Client(f"tcp://localhost:{port}") as client:
            assert client.get(TXID, timeout=30) == RESULTS["get"]
            daemon.stop()
            daemon = ScriptedDaemon(daemon.endpoint, epoch=2)
            while client.counters.epochs < 2:
                with contextlib.suppress(NoAnswer):
                    client.get(TXID)

        async def run():
            async with AsyncClient(f"tcp://localhost:{port}") as client:
                return await client.get(TXID, timeout=30)

        assert asyncio.run(run()) == RESULTS["get"]
        with Client(daemon.endpoint) as client:
            assert client.get(TXID) == RESULTS["get"]
    finally:
        daemon.stop()


def test_a_name_server_that_says_nothing_holds_up_neither_calls_nor_closing(silent):
    with Client("tcp://daemon.example:5555") as client:
        with pytest.raises(NoAnswer, match=r"daemon\.example is being looked up") as caught:
            client.get(TXID, timeout=0.1)
        assert caught.value.executed == "no"
        thread = client._driver._thread
    assert silent.is_set()
    assert not thread.is_alive()  # within the time that closing may take


def test_a_name_server_that_says_nothing_holds_up_no_event_loop(silent):
    async def run():
        client = AsyncClient("tcp://daemon.example:5555")
        with pytest.raises(NoAnswer, match=r"daemon\.example is being looked up"):
            await client.get(TXID, timeout=0.1)
        pending = asyncio.create_task(client.get(TXID, timeout=60))
        await asyncio.sleep(0)
        await client.close()
        assert client._driver._freed.is_set()
        with pytest.raises(NoAnswer, match="closed") as caught:
            await pending
        assert caught.value.executed == "no"

    asyncio.run(run())
    assert silent.is_set()


def test_a_name_that_nobody_knows_is_named_in_the_error(monkeypatch):
    def lookup(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr("protocol.client.addresses.LOOKUP_PAUSE", 60)  # until it is looked up again
    with Client("tcp://daemon.example:5555") as client:
        until(lambda: client._driver.session.problem != "daemon.example is being looked up")
        with pytest.raises(NoAnswer, match=r"daemon\.example can't be looked up: .*not known"):
            client.get(TXID, timeout=0.5)


def test_why_a_name_is_not_known_is_said_also_while_it_is_looked_up_again(monkeypatch):
    looked, again, over = [], threading.Event(), threading.Event()

    def lookup(*_, **__):
        if looked:
            again.set()
            over.wait(SOON)
        looked.append(None)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr("protocol.client.addresses.LOOKUP_PAUSE", 0)
    with Client("tcp://daemon.example:5555") as client:
        assert again.wait(SOON)
        with pytest.raises(NoAnswer, match=r"daemon\.example can't be looked up: .*not known"):
            client.get(TXID, timeout=0.5)
        over.set()


@pytest.mark.parametrize(
    ("lookup", "reason"),
    [(lambda *_, **__: [], "it has no address"), (lambda *_, **__: bytes(1 << 62), "MemoryError")],
    ids=["nothing", "memory"],
)
def test_a_lookup_that_finds_nothing_is_tried_again_and_not_at_once(monkeypatch, lookup, reason):
    looked = []

    def counted(*_, **__):
        looked.append(time.monotonic())
        return lookup()

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    monkeypatch.setattr("protocol.client.addresses.LOOKUP_PAUSE", 0.1)
    with Client("tcp://daemon.example:5555") as client:
        while len(looked) < 4:
            with pytest.raises(NoAnswer, match=rf"daemon\.example (can't be looked up: .*{reason}|is being looked up)"):
                client.get(TXID, timeout=0.1)
    assert all(later - sooner >= 0.1 for sooner, later in itertools.pairwise(looked))


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://localhost",
        "tcp://localhost:0",
        "tcp://localhost:65536",
        "tcp://a b:5555",
        "tcp://[::1:6001",
        "tcp://::1]:6001",
    ],
)
def test_an_endpoint_with_a_name_that_can_be_none_is_refused_at_once(endpoint):
    with pytest.raises(zmq.ZMQError, match="HOST:PORT"):
        Client(endpoint)
