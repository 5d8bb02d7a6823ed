"""How the Aerospike client is told who it is and whom to trust: what arrives at a peer that only listens."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qsl

import pytest

from store import StoreError
from store.aerospike.connection import connect
from store.aerospike.store import OPEN_BUDGET
from store.aerospike.url import parse_aerospike_url
from store.opening import split_url
from tests.support.patience import SOON

# The first bytes of a message by which somebody logs in: the protocol's version, and its type.
LOGIN = b"\x02\x02"
USER = b"validator"


class Peer:
    """Keeps the first bytes that each connection sends, and hangs up."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.heard: list[bytes] = []
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if (first := connection.recv(1, socket.MSG_PEEK)) == b".":
                    return
                try:
                    if self._context is not None:
                        connection = self._context.wrap_socket(connection, server_side=True)
                    self.heard.append(connection.recv(4096))
                except OSError as error:
                    self.heard.append(f"{first!r}: {error}".encode())

    def close(self) -> None:
        socket.create_connection(("127.0.0.1", self.port)).send(b".")
        self._thread.join()
        self._socket.close()


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    peer = Peer(context)
    try:
        yield peer
    finally:
        peer.close()


def heard(options: str, context: ssl.SSLContext | None = None) -> list[bytes]:
    """What the client says first on each connection that it makes when it is told to connect."""
    with listening(context) as peer, pytest.raises(StoreError, match="cannot be reached"):
        connect_to(f"aerospike://127.0.0.1:{peer.port}/coins?{options}")
    return peer.heard


def connect_to(url: str) -> None:
    parts = split_url(url)
    connect(parse_aerospike_url(parts, dict(parse_qsl(parts.query))))


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, an authority, and cert.pem and key.pem of the cluster `cluster`, which it has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    directory = tmp_path_factory.mktemp("tls")
    for command in (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem",
        "openssl req -newkey rsa:2048 -nodes -subj /CN=cluster -keyout key.pem -out request.pem",
        "openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -out cert.pem",
    ):
        subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    return directory


def test_a_user_logs_in_and_the_password_is_not_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    told = heard(f"user={USER.decode()}&password_file={tmp_path / 'password'}")
    assert any(first.startswith(LOGIN) and USER in first for first in told)
    assert not any(b"secret" in first for first in told)


def test_without_a_user_nobody_logs_in() -> None:
    told = heard("")
    assert any(told)
    assert not any(first.startswith(LOGIN) for first in told)


def test_with_tls_all_of_it_goes_to_the_cluster_that_shows_its_certificate(certified: Path, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certified / "cert.pem", certified / "key.pem")
    (tmp_path / "password").write_text("secret\n")
    login = f"user={USER.decode()}&password_file={tmp_path / 'password'}"
    told = heard(f"tls_name=cluster&tls_cafile={certified / 'ca.pem'}&{login}", context)
    assert any(first.startswith(LOGIN) and USER in first for first in told)
    told = heard(f"tls_name=another&tls_cafile={certified / 'ca.pem'}&{login}", context)
    assert any(told)
    assert not any(USER in first for first in told)


def test_a_cluster_that_only_hangs_is_given_up_within_the_time_of_opening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        began = monotonic()
        with pytest.raises(StoreError, match="cannot be reached"):
            connect_to(f"aerospike://127.0.0.1:{hanging.getsockname()[1]}/coins")
    assert monotonic() - began < OPEN_BUDGET + SOON


def test_alternate_addresses_are_named_where_nothing_can_be_reached_by_them() -> None:
    with pytest.raises(StoreError, match=r"cannot be reached.*are alternate addresses configured"):
        connect_to("aerospike://127.0.0.1:1/coins?services_alternate=true")
