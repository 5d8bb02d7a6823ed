"""P14, P15: a process beside the daemon is started again when it ends, and whatever becomes of it harms nobody; nothing
of it is left."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import End
from tests.support.interpreter import Interpreter
from tests.support.patience import SOON, until
from workers.log_lines import _Json
from workers.management.companion import Companion, Companions

NAME = "companion"
BEGIN = """
import os, signal, socket, sys, time
from workers.child import COMPANION_GOES_BEFORE, begin
begin(int(sys.argv[1]), COMPANION_GOES_BEFORE{more})
link = socket.socket(fileno=int(sys.argv[2]))
link.send(str(os.getpid()).encode())
"""
RUN = BEGIN.format(more="") + "time.sleep(600)\n"
DIE = BEGIN.format(more="") + "sys.exit(7)\n"
HANG = BEGIN.format(more="") + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nlink.send(b'deaf')\ntime.sleep(600)\n"
LOG = (
    BEGIN.format(more="")
    + """
import logging
os.dup2(os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND), 2)
from workers import log_lines
log_lines.set_up_as_told("tiny")
while link.recv(1):
    logging.getLogger("any").debug("one")
    logging.getLogger("any").warning("two")
    logging.getLogger("any").critical("three")
"""
)
READ_TO_THE_END = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
{BEGIN.format(more=", signal.SIGCONT")}
read = b""
while chunk := link.recv(100):
    read += chunk
open(sys.argv[3], "wb").write(read)
"""
# A daemon in small, which the test kills: it has one companion, and the test the other end of its socket.
DAEMON = """
import sys, time
from workers.management.companion import Companion, Companions
link, *arguments = sys.argv[1:]
companions = Companions([Companion("companion", "tiny", (link, *arguments), (int(link),))])
companions.tend()
time.sleep(600)
"""


class Beside:
    """What a daemon has: companions, and its end of a socket to the one there is. place: where its module is."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(30)
        self.companions = Companions([])

    def want(self, program: str, *arguments: str) -> None:
        (self.place / "tiny.py").write_text(program)
        link = self.theirs.fileno()
        self.companions.end()
        self.companions = Companions([Companion(NAME, "tiny", (str(link), *arguments), (link,))])
        self.companions.tend()

    def hear(self) -> str:
        return self.ours.recv(100).decode()

    def hear_pid(self) -> int:
        return int(self.hear())

    def tend_until_one_more_is_there(self) -> int:
        self.ours.setblocking(False)

        def _heard() -> int:
            self.companions.tend()
            try:
                return self.hear_pid()
            except BlockingIOError:
                return 0

        return int(until(_heard, within=60))

    def close(self) -> None:
        self.companions.end()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Beside]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    caplog.set_level(logging.INFO)
    beside = Beside(tmp_path)
    yield beside
    beside.close()


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_it_has_a_group_of_its_own_and_hears_signals(beside: Beside) -> None:
    beside.want(RUN)
    pid = beside.hear_pid()
    assert os.getpgid(pid) == pid
    beside.companions.end()
    assert not is_there(pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_one_that_ends_is_started_again_and_it_is_said(
    beside: Beside, caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    beside.want(RUN)
    first = beside.hear_pid()
    os.kill(first, number)
    second = beside.tend_until_one_more_is_there()
    assert second != first
    assert f"companion {first} is gone: it was ended by {number.name}" in caplog.text
    assert f"started companion {second}" in caplog.text


def test_one_that_dies_young_again_and_again_is_started_ever_later(
    beside: Beside, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.management.crash_loop._EARLY_SECONDS", 600.0)  # however long it takes to be seen
    beside.want(DIE)
    pids = {beside.hear_pid()} | {beside.tend_until_one_more_is_there() for _ in range(3)}
    assert len(pids) == 4
    assert "it exited with status 7" in caplog.text
    for delay, failures in (("0.1", 2), ("0.2", 3)):
        assert f"the next companion starts in {delay} s: {failures} in a row" in caplog.text


def test_where_it_cannot_be_started_it_is_said_and_tried_again(
    beside: Beside, interpreter: Interpreter, caplog: pytest.LogCaptureFixture
) -> None:
    with interpreter.away():
        beside.want(RUN)
        assert "the companion can't be started: " in caplog.text
        beside.companions.tend()
    assert is_there(beside.tend_until_one_more_is_there())


def deaf(beside: Beside) -> int:
    beside.want(HANG)
    pid = beside.hear_pid()
    assert beside.hear() == "deaf"
    return pid


def stopped(beside: Beside) -> int:
    beside.want(RUN)
    pid = beside.hear_pid()
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    return pid


@pytest.mark.parametrize("state", [deaf, stopped])
def test_at_the_end_nothing_is_left_of_one_that_does_not_hear(beside: Beside, state: Callable[[Beside], int]) -> None:
    pid = state(beside)
    beside.companions.tend()
    beside.companions.end()
    assert not is_there(pid)


def test_one_that_reads_to_the_end_of_its_socket_may(
    beside: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.management.companion._END_SECONDS", 60.0)
    beside.want(READ_TO_THE_END, str(tmp_path / "read"))
    beside.hear_pid()
    beside.ours.send(b"last words")
    beside.ours.close()
    beside.companions.end()
    assert (tmp_path / "read").read_bytes() == b"last words"


def run_small_daemon(beside: Beside, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
    (beside.place / "tiny.py").write_text(program)
    link = beside.theirs.fileno()
    command = [sys.executable, "-c", DAEMON, str(link), *arguments]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": f"{root}:{beside.place}"}
    return subprocess.Popen(command, pass_fds=[link], env=environment)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_it_does_not_outlive_a_daemon_that_is_killed(beside: Beside, is_stopped: bool) -> None:
    daemon = run_small_daemon(beside, RUN)
    pid = beside.hear_pid()
    end = End(pid)
    if is_stopped:
        os.kill(pid, signal.SIGSTOP)
    daemon.kill()
    daemon.wait()
    assert end.wait(SOON)


def test_one_that_was_stopped_still_reads_what_a_killed_daemon_has_sent(beside: Beside, tmp_path: Path) -> None:
    daemon = run_small_daemon(beside, READ_TO_THE_END, str(tmp_path / "read"))
    pid = beside.hear_pid()
    end = End(pid)
    os.kill(pid, signal.SIGSTOP)
    beside.ours.send(b"last words")
    beside.ours.close()
    daemon.kill()
    daemon.wait()
    assert end.wait(SOON)
    assert (tmp_path / "read").read_bytes() == b"last words"


def test_one_that_runs_logs_at_the_daemons_level_and_in_its_format_of_now(
    beside: Beside, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    written = tmp_path / "log"
    written.touch()
    beside.want(LOG, str(written))
    pid = beside.hear_pid()

    def says() -> list[str]:
        """Its lines of one round: the last one is always there."""
        before = written.read_text()
        beside.companions.tend()
        beside.ours.send(b"?")
        until(lambda: "three" in (text := written.read_text().removeprefix(before)) and text.endswith("\n"))
        *lines, _ = written.read_text().removeprefix(before).splitlines()
        return lines

    root = logging.getLogger()
    caplog.set_level(logging.WARNING)
    assert [line.partition(",")[2][4:] for line in says()] == [f"WARNING tiny {pid}: two"]
    caplog.set_level(logging.ERROR)
    assert says() == []
    caplog.set_level(logging.DEBUG)
    assert [line.partition(",")[2][4:] for line in says()] == [f"DEBUG tiny {pid}: one", f"WARNING tiny {pid}: two"]
    as_json = logging.NullHandler()
    as_json.setFormatter(_Json("", {}))
    root.addHandler(as_json)
    try:
        assert [json.loads(line)["message"] for line in says()] == ["one", "two"]
    finally:
        root.removeHandler(as_json)


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_where_memory_is_short_it_goes_before_the_daemon(beside: Beside) -> None:
    beside.want(RUN)
    assert oom_score(beside.hear_pid()) > oom_score(os.getpid())
