"""Where the figures' process serves: bound once, and again and again where it is taken."""

import contextlib
import logging
import os
import socket
import threading
from pathlib import Path

import pytest

from broker.daemon_settings import Settings
from broker.transport.figures_place import THREAD_NAME, FiguresPlace
from supervisor import StartError, Supervisor
from tests.support.patience import SOON


def opens(place: FiguresPlace, now: float) -> bool:
    """Whether it comes to be at that time, whatever a try takes."""
    if place.open_when_due(now):
        return True
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join(SOON)
    return place.open_when_due(now)


def test_where_nothing_is_wanted_nothing_is_bound() -> None:
    place = FiguresPlace("")
    assert not opens(place, 0.0)
    assert (place.address, place.descriptors) == ("", ())


IPV6 = pytest.param("[::1]", marks=pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", IPV6])
def test_a_port_is_chosen_and_told_and_somebody_can_come_there(host: str) -> None:
    place = FiguresPlace(f"{host}:0")
    assert opens(place, 0.0)
    assert not opens(place, 1.0)
    name, _, port = place.address.rpartition(":")
    assert name == host
    assert place.descriptors
    assert not any(map(os.get_blocking, place.descriptors))
    with socket.create_connection((host.strip("[]"), int(port))):
        pass
    place.close()


def test_a_port_that_is_taken_is_said_and_tried_again_later_and_later(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as kept, contextlib.ExitStack() as taken:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))  # so that nobody else is given the port when it is free
        port = kept.getsockname()[1]
        taken.enter_context(socket.create_server(("127.0.0.1", port)))
        place = FiguresPlace(f"127.0.0.1:{port}")
        assert not any(opens(place, float(now)) for now in range(130))
        said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        assert [line.rpartition(" is in ")[2] for line in said] == [
            f"{delay} s" for delay in (1, 2, 4, 8, 16, 32, 60, 60)
        ]
        assert f"127.0.0.1:{port}: Address already in use" in said[0]
        assert place.address == ""
        taken.close()
        assert opens(place, 1000.0)
        assert place.address == f"127.0.0.1:{port}"
    place.close()


def test_a_name_that_leads_nowhere_is_said_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    place = FiguresPlace("no.such.host.invalid:9464")
    assert not opens(place, 0.0)
    assert "no figures: tcp://no.such.host.invalid:9464: no.such.host.invalid: " in caplog.text
    assert not opens(place, 2.0)
    assert caplog.text.count("no figures") == 2


def test_a_name_server_that_says_nothing_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    says_something = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> None:
        assert says_something.wait(SOON)
        raise socket.gaierror("nothing")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    place = FiguresPlace("a.name:9464")
    assert not any(place.open_when_due(float(now)) for now in range(10))
    says_something.set()
    assert not opens(place, 10.0)


def test_where_no_thread_is_left_that_is_said_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    place = FiguresPlace("127.0.0.1:0")
    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", start)
        assert not opens(place, 0.0)
    assert "no figures: can't start new thread; the next try is in 1 s" in caplog.text
    assert opens(place, 1.0)
    place.close()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("9464", "9464: wanted HOST:PORT, as in 127.0.0.1:9464"),
        (":9464", ":9464: wanted HOST:PORT, as in 127.0.0.1:9464"),
        ("127.0.0.1:x", "127.0.0.1:x: wanted HOST:PORT, as in 127.0.0.1:9464"),
        ("127.0.0.1:65536", "127.0.0.1:65536: a port is at most 65535"),
        ("127.0.0.1:" + "9" * 5000, "a port is at most 65535"),
        ("127.0.0.1:٣", "a port is a number"),
        ("..:9464", "can be no host's name"),
    ],
)
def test_what_is_no_address_is_said_at_the_start_which_leaves_nothing(tmp_path: Path, address: str, why: str) -> None:
    settings = Settings(
        store="null:", listen=(f"ipc://{tmp_path}/u.sock",), state=str(tmp_path / "state"), metrics=address
    )
    with pytest.raises(StartError, match=f"^metrics: .*{why}"):
        Supervisor(settings, "test")
    assert not list(tmp_path.glob("u.sock*"))
