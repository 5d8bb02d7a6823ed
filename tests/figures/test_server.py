"""The HTTP server is open to whoever reaches it: whatever somebody does to it, it answers others."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.figures_process import serving
from utxod.figures import server
from utxod.figures.server import TEXT, Answer, Room


def defect(accept: str) -> Answer:
    raise ZeroDivisionError


PAGES = {
    "/": lambda _: Answer(200, TEXT, b"hello", {"X-Own": "1"}),
    "/long": lambda _: Answer(200, TEXT, bytes(1 << 24)),
    "/accept": lambda accept: Answer(200, TEXT, accept.encode()),
    "/defect": defect,
}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place is given up as soon as it can be, on a machine that is busy too."""
    monkeypatch.setattr(server, "_LEAVE_SECONDS", 60.0)
    monkeypatch.setattr(server, "SECONDS", 60.0)


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with serving(PAGES) as address:
        yield address


def ask(address: tuple[str, int], path: str = "/", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    return response


def body(response: http.client.HTTPResponse) -> bytes:
    read: bytes = response.body  # type: ignore[attr-defined]
    return read


def rest(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    connection.settimeout(30)
    read = b""
    try:
        while chunk := connection.recv(1 << 16):
            read += chunk
    except ConnectionResetError:
        pass
    return read


def test_a_page_is_served_with_headers_that_keep_a_browser_from_mischief(address: tuple[str, int]) -> None:
    response = ask(address, "/?x=../../etc/passwd")
    assert (response.status, body(response), response.headers["X-Own"]) == (200, b"hello", "1")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers.get("Access-Control-Allow-Origin") is None
    assert "ython" not in response.headers["Server"]


def test_a_page_is_told_what_is_accepted(address: tuple[str, int]) -> None:
    assert body(ask(address, "/accept", Accept="application/openmetrics-text")) == b"application/openmetrics-text"


def test_head_has_the_headers_alone(address: tuple[str, int]) -> None:
    response = ask(address, method="HEAD")
    assert (response.status, response.headers["Content-Length"], body(response)) == (200, "5", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_nothing_but_get_and_head_is_done(address: tuple[str, int], method: str) -> None:
    response = ask(address, method=method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/nothing", "/..", "/long/", "http://elsewhere/nothing", "elsewhere/"])
def test_there_is_nothing_but_the_pages(address: tuple[str, int], path: str) -> None:
    response = ask(address, path)
    assert response.status == 404
    assert b"/accept" in body(response)


@pytest.mark.parametrize("path", ["http://elsewhere:80/?x=/", "HTTP://elsewhere", "https://elsewhere?x", "//?x"])
def test_a_page_may_be_asked_for_as_of_a_proxy(address: tuple[str, int], path: str) -> None:
    assert (ask(address, path).status, body(ask(address, path))) == (200, b"hello")


OF_BROWSERS = [
    {"Accept-Language": "en"},
    {"accept-language": ""},
    {"Origin": "null"},
    {"Referer": "http://evil.example/"},
    {"Sec-Fetch-Site": "same-origin"},
]
OWN_NAMES = ["127.0.0.1", "10.0.0.7:9464", "[::1]:9464", "localhost:9464", "LOCALHOST.", "metrics.example:9464"]
OTHER_NAMES = ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "a@b"]


@pytest.mark.parametrize("name", OTHER_NAMES)
@pytest.mark.parametrize("headers", OF_BROWSERS)
def test_a_page_elsewhere_whose_name_leads_here_reads_nothing(
    address: tuple[str, int], name: str, headers: dict[str, str]
) -> None:
    """Nor where its browser asks as of a proxy; what the Host says does not count then."""
    response = ask(address, Host=name, **headers)
    assert (response.status, b"`metrics`" in body(response)) == (421, True)
    assert ask(address, f"http://{name}/", Host="localhost", **headers).status == 421


@pytest.mark.parametrize("name", [*OWN_NAMES, socket.gethostname(), f"{socket.gethostname()}:9464", socket.getfqdn()])
@pytest.mark.parametrize("headers", OF_BROWSERS)
def test_a_browser_may_ask_by_what_no_stranger_can_give_a_meaning_to(
    address: tuple[str, int], name: str, headers: dict[str, str]
) -> None:
    assert ask(address, Host=name, **headers).status == 200


@pytest.mark.parametrize("name", [*OWN_NAMES, *OTHER_NAMES])
def test_who_is_no_browser_may_ask_by_any_name(address: tuple[str, int], name: str) -> None:
    """Prometheus scrapes by the one that its operator chose, a probe by a pod's address."""
    assert ask(address, Host=name).status == 200


@pytest.mark.parametrize(
    ("sent", "phrase"),
    [
        (b"GET / HTTP/1.1\r\nx: " + bytes(1 << 15), b"Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", b"Request Header Fields Too Large"),
        (b"GET / HTTP/9.9\r\n\r\n", b"HTTP Version Not Supported"),
        (b"nonsense\r\n\r\n", b"Bad Request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"Bad Request"),
    ],
)
def test_what_is_no_request_is_refused(address: tuple[str, int], sent: bytes, phrase: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        assert phrase in rest(connection)
    assert ask(address).status == 200


def test_a_line_without_an_end_is_not_kept(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"x" * (server.MOST_HEAD_BYTES + 1))
        assert rest(connection) == b""


def test_a_defect_of_a_page_is_said_and_logged(address: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    response = ask(address, "/defect")
    assert (response.status, body(response)) == (500, b"a defect; the daemon's log has it\n")
    assert "ZeroDivisionError" in caplog.text


def test_who_never_ends_asking_is_cut_off(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is no excuse: what counts is the whole."""
    monkeypatch.setattr(server, "SECONDS", 0.3)
    ended = threading.Event()
    with socket.create_connection(address) as connection:

        def trickle() -> None:
            while not ended.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert rest(connection) == b""
        finally:
            ended.set()
            thread.join()


def test_who_does_not_take_the_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is another's then."""
    monkeypatch.setattr(server, "SECONDS", 0.3)
    with serving(PAGES, most=1) as address, socket.create_connection(address) as connection:
        connection.sendall(b"GET /long HTTP/1.0\r\n\r\n")
        until_served(address)
        assert len(rest(connection)) < 1 << 24


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET /long HTTP/1.0\r\n\r\n"])
@pytest.mark.usefixtures("patient")
def test_who_keeps_the_server_waiting_keeps_nobody_else_out(address: tuple[str, int], begun: bytes) -> None:
    """However many say nothing, or do not read: who is there for longest goes first."""
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(socket.create_connection(address)) for _ in range(server.MOST_CONNECTIONS)]
        for connection in connections:
            connection.sendall(begun)
        for _ in range(3):
            assert ask(address).status == 200


@pytest.mark.usefixtures("patient")
def test_a_name_server_that_does_not_answer_keeps_nobody_else_out(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr("utxod.figures.hosts.socket.getfqdn", lambda: str(answers.wait(30)))
    with contextlib.ExitStack() as held:
        held.callback(answers.set)
        for _ in range(server.MOST_CONNECTIONS):
            connection = held.enter_context(socket.create_connection(address))
            connection.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n")
        assert ask(address).status == 200


def test_who_is_being_served_is_not_ended_for_a_newcomer() -> None:
    """One that comes while all places are at work is turned away."""
    asked, answered = threading.Event(), threading.Event()

    def slow(accept: str) -> Answer:
        asked.set()
        answered.wait(30)
        return Answer(200, TEXT, b"at last")

    with serving({"/": slow}, most=1) as address, socket.create_connection(address) as first:
        first.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert asked.wait(30)
        with socket.create_connection(address) as second:
            assert rest(second) == b""
        answered.set()
        assert rest(first).endswith(b"at last")
        until_served(address)


def test_one_that_is_to_be_ended_for_a_newcomer_and_is_asked_just_then_is_served() -> None:
    room = Room(1)

    class Asked:
        """Its request is there when it is looked for again."""

        is_asked = is_ended = False
        work: contextlib.AbstractContextManager[None]

        def __hash__(self) -> int:
            if self.is_asked:
                self.is_asked = False
                self.work = room.at_work(self)
                self.work.__enter__()
            return 1

        def shutdown(self, how: int) -> None:
            self.is_ended = True

    connection = Asked()
    assert room.enter(connection)
    connection.is_asked = True
    assert not room.enter(object())
    assert not connection.is_ended


def until_served(address: tuple[str, int]) -> None:
    """A place is free again once its thread has ended, soon after its connection."""
    pause = threading.Event()
    for _ in range(1000):
        try:
            assert ask(address).status == 200
        except (http.client.RemoteDisconnected, ConnectionError):
            pause.wait(0.01)
        else:
            return
    raise AssertionError("it serves nobody any more")
