import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol import AsyncClient, Client
from tests.support.clock import Clock
from tests.support.leading import FOR_EVER
from tests.support.scripted_daemon import ScriptedDaemon
from tests.support.wired_session import WiredSession


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """What is to be answered may take its time, on a machine that is busy with something else."""
    for client in (Client, AsyncClient):
        monkeypatch.setitem(client.__init__.__kwdefaults__, "timeout", 60.0)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/daemon.sock"


@pytest.fixture
def start(endpoint: str) -> Iterator[Callable[..., ScriptedDaemon]]:
    """Starts a scripted daemon at the endpoint."""
    daemons: list[ScriptedDaemon] = []

    def _start(*args, **options) -> ScriptedDaemon:
        daemons.append(ScriptedDaemon(endpoint, *args, **options))
        return daemons[-1]

    yield _start
    for daemon in daemons:
        daemon.stop()


@pytest.fixture
def daemon_process(endpoint: str) -> Iterator["subprocess.Popen[str]"]:
    """A scripted daemon in a process of its own, that answers every item."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.scripted_daemon", endpoint],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


@pytest.fixture
def wired() -> WiredSession:
    """A session that has shaken hands with its daemon."""
    found = WiredSession()
    found.shake_hands()
    return found


@pytest.fixture
def clock(monkeypatch):
    """The clients', instead of the machine's."""
    clock = Clock()
    for name, module in list(sys.modules.items()):
        if name.startswith("protocol.client.") and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def told_only(monkeypatch, clock):
    """Nobody looks by himself, and no time is ever over: who does not see what has come was not told."""
    for module in ("session", "channel"):
        monkeypatch.setattr(f"protocol.client.{module}.SWEEP", FOR_EVER)
    monkeypatch.setattr("protocol.client.thread_driver.LOOK", FOR_EVER)


@pytest.fixture
def usr1():
    """Sets what a signal's handler does."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda does: signal.signal(signal.SIGUSR1, lambda *_: does())
    signal.signal(signal.SIGUSR1, before)
