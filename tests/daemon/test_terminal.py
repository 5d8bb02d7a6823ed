"""A SIGHUP that says that the terminal has closed is told apart from an operator's."""

import os
import pty
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import Callers
from tests.support.daemon import Daemon, End, Start
from tests.support.interpreter import Interpreter
from tests.support.patience import until
from tests.support.seven_operations import NOTHING_ENDS_IT

pytestmark = EMBEDDED_ONLY
CLOSED = "SIGHUP, the terminal has closed: draining"

# A session with a terminal, led by a shell in small: arguments are the terminal, the file that it makes once it is
# ready, what the daemon is to it, then the daemon's command. The shell sends a SIGHUP of its terminal on to a job in
# the background, as bash does; at SIGUSR1 it sends one of its own accord.
SHELL = """
import os, signal, subprocess, sys
leader = os.fork()
if leader:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]) & 127)
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)
job = sys.argv[3]
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
hangup = signal.SIG_IGN if job == "nohup" else signal.SIG_DFL
set_hangup = lambda: signal.signal(signal.SIGHUP, hangup)
daemon = subprocess.Popen(sys.argv[4:], process_group=0, preexec_fn=set_hangup)
send = lambda *_: os.kill(daemon.pid, signal.SIGHUP)
signal.signal(signal.SIGUSR1, send)
if job == "foreground":
    os.tcsetpgrp(terminal, daemon.pid)
else:
    signal.signal(signal.SIGHUP, send)
os.close(os.open(sys.argv[2], os.O_CREAT))
sys.exit(daemon.wait())
"""


class Session:
    """daemon: at a terminal. pid: its own; shell: of its session's leader, around which is what is started by the
    test."""

    def __init__(self, daemon: Daemon, terminal: int, ready: Path) -> None:
        self.daemon = daemon
        self._terminal = terminal
        self.pid = daemon.wait_for_workers()["pid"]
        self.end = End(self.pid)
        until(ready.exists)
        self.shell = psutil.Process(self.pid).ppid()

    def close_terminal(self) -> None:
        os.close(self._terminal)

    def terminate(self) -> None:
        """It ends, and the shell after it."""
        os.kill(self.pid, signal.SIGTERM)
        assert self.end.wait(60)
        self.daemon.process.wait(60)


@pytest.fixture
def session(start: Start, interpreter: Interpreter, tmp_path: Path) -> Iterator[Callable[[str], Session]]:
    """A daemon that is a job of that kind."""
    sessions: list[Session] = []

    def _start(job: str) -> Session:
        ours, theirs = pty.openpty()
        shell, ready = tmp_path / "shell.py", tmp_path / "ready"
        shell.write_text(SHELL)
        interpreter.wrap(f'exec {{python}} {shell} {os.ttyname(theirs)} {ready} {job} {{python}} "$@"')
        sessions.append(Session(start({"drain_seconds": 60, **NOTHING_ENDS_IT}), ours, ready))
        os.close(theirs)
        return sessions[-1]

    yield _start
    for each in sessions:
        with suppress(OSError):
            os.kill(each.pid, signal.SIGKILL)


def expect_an_end_in_order(session: Session) -> None:
    """What is pending is finished."""
    daemon = session.daemon
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        held = callers.create(1)
        daemon.wait_until_in_flight(1)
        session.close_terminal()
        daemon.log.expect(CLOSED)
        daemon.faults.clear()
        assert held.result()[0] == "OK"
    assert session.end.wait(60)
    daemon.process.wait(60)
    daemon.log.close()
    assert " INFO ended" in daemon.log.lines[-1]
    assert "reload" not in daemon.log.text


def test_in_the_foreground_of_a_terminal_that_closes_it_drains_and_ends(session: Callable[[str], Session]) -> None:
    expect_an_end_in_order(session("foreground"))


def test_in_the_background_of_a_terminal_that_closes_it_drains_and_ends(session: Callable[[str], Session]) -> None:
    expect_an_end_in_order(session("background"))


def test_started_to_outlive_its_terminal_it_goes_on_and_an_operators_is_a_reload(
    session: Callable[[str], Session],
) -> None:
    at = session("nohup")
    at.close_terminal()
    at.daemon.log.expect("SIGHUP: the terminal has closed; the daemon was started to outlive it")
    os.kill(at.pid, signal.SIGHUP)
    at.daemon.log.expect("replacing all workers")
    assert at.daemon.status()["draining"] is False
    at.terminate()


@pytest.mark.parametrize("job", ["foreground", "background", "nohup"])
def test_while_its_terminal_is_there_it_is_a_reload_whoever_sends_it(
    session: Callable[[str], Session], job: str
) -> None:
    at = session(job)
    os.kill(at.shell, signal.SIGUSR1)
    at.daemon.log.expect("replacing all workers")
    os.kill(at.pid, signal.SIGHUP)  # somebody else's
    at.daemon.log.expect("replacing all workers", count=2)
    assert at.daemon.status()["draining"] is False
    at.terminate()
    at.close_terminal()
