import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aerospike_server import own_set
from tests.support.daemon import Daemon, Raw, Start
from tests.support.interpreter import Interpreter


@pytest.fixture
def store_url(store_kind: str, tmp_path: Path) -> Iterator[str]:
    with own_set(store_kind, tmp_path) as url:
        yield url


@pytest.fixture
def start(tmp_path: Path, store_url: str) -> Iterator[Start]:
    """Starts a daemon. At the test's end every one that still runs is told to end, and must leave nothing."""
    daemons: list[Daemon] = []

    # store_options: of the store's URL, as in &utxo_batch_size=1. place: of one beside others on the same set.
    def _start(
        settings: Any = None, *arguments: str, ready: bool = True, store_options: str = "", place: str = "."
    ) -> Daemon:
        directory = tmp_path / place
        directory.mkdir(exist_ok=True)
        daemon = Daemon(directory, settings or {}, arguments, store_url + store_options)
        daemons.append(daemon)
        if ready:
            daemon.wait_until_it_serves()
        return daemon

    try:
        yield _start
        for daemon in daemons:
            if daemon.process.poll() is None:
                daemon.end()
    finally:
        for daemon in daemons:
            daemon.destroy()
            print(daemon.log.text)  # shown where the test has failed


@pytest.fixture
def daemon(start: Start) -> Daemon:
    """A daemon with its usual settings."""
    return start()


@pytest.fixture
def raw() -> Iterator[Callable[..., Raw]]:
    """Opens a socket without a client around it."""
    opened: list[Raw] = []

    def _open(endpoint: str, receive_limit: int = 0) -> Raw:
        opened.append(Raw(endpoint, receive_limit))
        return opened[-1]

    yield _open
    for socket in opened:
        socket.close()


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    """What a daemon of this test, and its workers, are started with."""
    interpreter = Interpreter(tmp_path / "python")
    monkeypatch.setattr(sys, "executable", str(interpreter.path))
    return interpreter
