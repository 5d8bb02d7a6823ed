"""`utxod top` in a terminal, and without one: that the terminal is as it was when it ends, however it does."""

import itertools
import math
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.patience import until
from tests.support.reports import changed, report
from tests.support.scripted_daemon import ScriptedDaemon, answer_nothing
from tests.support.terminal import Terminal
from utxod.import_guard import ROOT

# What is missing is noticed by the interval, not by the timeout.
OFTEN = ("--interval", "0.1", "--timeout", "30")


def serving(since: float, **changes: Any) -> Callable[[], dict[str, Any]]:
    """Reports of a daemon, a second older each time."""
    seconds = itertools.count(since)
    return lambda: changed(report(next(seconds)), changes)


# ---- in a terminal


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    daemon = ScriptedDaemon(f"ipc://{tmp_path}/u.sock")
    daemon.reports = serving(600.0)
    yield daemon
    daemon.stop()


@pytest.fixture
def terminal(daemon: ScriptedDaemon) -> Iterator[Terminal]:
    terminal = Terminal("top", *OFTEN, "--connect", daemon.endpoint)
    terminal.expect("serving")
    yield terminal
    terminal.close()


def test_who_closed_standard_input_gets_one_frame(daemon: ScriptedDaemon) -> None:
    top = [sys.executable, "-m", "utxod", "top", *OFTEN, "--connect", daemon.endpoint]
    ours, theirs = os.openpty()
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *top],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
        stdout=theirs,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert (closed.returncode, closed.stderr) == (0, b"")
    assert b"serving" in os.read(ours, 1 << 16)
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(("key", "status"), [(b"q", 0), (b"\x03", 0)], ids=["q", "Ctrl-C"])
def test_a_key_ends_it_and_the_terminal_is_as_before(terminal: Terminal, key: bytes, status: int) -> None:
    terminal.press(b"x")  # any other is none
    terminal.press(key)
    terminal.expect_end(status)


# In place of `utxod`: a key comes, and is taken back before it is read, as Ctrl-C does with what was typed before it.
TAKEN_BACK = """
import asyncio, select, termios
from utxod.top.keyboard import keys

async def main():
    with keys(lambda key: print(f"heard {key!r}", flush=True)):
        print("listens", flush=True)
        select.select([0], [], [])
        asyncio.get_running_loop().call_soon(termios.tcflush, 0, termios.TCIFLUSH)
        await asyncio.sleep(0)  # so that the flush is next, and then what has found that there is a key
        await asyncio.sleep(0)
        print("goes on", flush=True)
        select.select([0], [], [])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

asyncio.run(main())
"""


def test_a_key_that_is_taken_back_is_not_waited_for() -> None:
    terminal = Terminal(TAKEN_BACK, shell='exec "$1" -c "$4"')
    try:
        terminal.expect("listens")
        terminal.press(b"x")
        terminal.expect("goes on")
        terminal.press(b"y")
        terminal.expect("heard 'y'")
        until(lambda: terminal.process.poll() == 0, 60)
        assert termios.tcgetattr(terminal.theirs) == terminal.before
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_shell_reads_on_where_it_could_not_leave_the_terminal_as_it_was(
    daemon: ScriptedDaemon, number: signal.Signals
) -> None:
    """A terminal in which reads never wait is one that has ended to a shell, which then ends, too."""
    terminal = Terminal("top", *OFTEN, "--connect", daemon.endpoint, shell='"$@"; echo go on; read it; echo "read $it"')
    try:
        terminal.expect("serving")
        (top,) = psutil.Process(terminal.process.pid).children()
        top.send_signal(number)
        terminal.expect("go on")
        terminal.press(b"this\n")
        terminal.expect("read this")
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_as_before(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    terminal.expect_end(128 + number)


def test_a_job_in_the_background_draws_nothing_until_it_is_in_the_foreground(daemon: ScriptedDaemon) -> None:
    terminal = Terminal("top", *OFTEN, "--connect", daemon.endpoint, shell='"$@" & read _; fg')
    try:
        shell = psutil.Process(terminal.process.pid)
        until(lambda: [each.status() for each in shell.children()] == [psutil.STATUS_STOPPED], 60)
        assert "serving" not in terminal.read()
        terminal.press(b"\n")
        terminal.expect("serving")
        terminal.press(b"q")
        terminal.expect_end(0)
    finally:
        terminal.close()


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(terminal: Terminal) -> None:
    terminal.press(b"\x1a")
    os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOWAIT)
    terminal.expect_as_before()
    terminal.process.send_signal(signal.SIGCONT)
    terminal.expect("serving")
    terminal.press(b"q")
    terminal.expect_end(0)


def test_a_terminal_of_another_size_is_filled_anew(terminal: Terminal) -> None:
    terminal.expect("all 90%")
    terminal.resize(150, 50)
    terminal.expect("operations")  # there was no room for them
    terminal.press(b"q")
    terminal.expect_end(0)


def test_a_daemon_that_goes_away_is_told_since_when_and_asked_on(terminal: Terminal, daemon: ScriptedDaemon) -> None:
    daemon.script = answer_nothing
    terminal.expect("no answer for")
    terminal.expect("UtxodDown")
    daemon.stop()
    again = ScriptedDaemon(daemon.endpoint, epoch=2)
    try:
        again.reports = serving(3.0, epoch=2, version="9.9.9")
        terminal.expect("utxod 9.9.9  serving")
        terminal.press(b"q")
        terminal.expect_end(0)
    finally:
        again.stop()


def test_a_next_daemon_of_a_version_without_figures_is_told(terminal: Terminal, daemon: ScriptedDaemon) -> None:
    daemon.reports = lambda: {"epoch": 1, "version": "0.0.9"}
    terminal.expect("its version is 0.0.9")
    daemon.reports = serving(900.0, version="9.9.9")
    terminal.expect("utxod 9.9.9  serving")
    terminal.press(b"q")
    terminal.expect_end(0)


def test_a_report_with_what_is_no_number_is_told_and_the_next_one_shown(
    terminal: Terminal, daemon: ScriptedDaemon
) -> None:
    daemon.reports = serving(700.0, **{"pools.write.longest_seconds": math.nan})
    terminal.expect("pools.write.longest_seconds is nan")
    daemon.reports = serving(900.0, version="9.9.9")
    terminal.expect("utxod 9.9.9  serving")
    terminal.press(b"q")
    terminal.expect_end(0)


@pytest.fixture(params=["Ctrl-S", "nobody reads"])
def held(request: pytest.FixtureRequest, terminal: Terminal, daemon: ScriptedDaemon) -> Terminal:
    """A terminal that takes no output, and has not for some frames."""
    if request.param == "Ctrl-S":
        terminal.press(b"\x13")
    else:
        terminal.hold()
    asked: list[None] = []
    reports = daemon.reports
    daemon.reports = lambda: (asked.append(None), reports())[1]
    until(lambda: len(asked) > 5, 60)
    return terminal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_takes_no_output_keeps_no_signal_from_ending_it(held: Terminal, number: signal.Signals) -> None:
    held.process.send_signal(number)
    assert held.process.wait(60) == (0 if number == signal.SIGINT else 128 + number)
    held.expect_as_before()


def test_a_terminal_that_takes_no_output_is_left_as_it_was_at_a_second_signal_too(held: Terminal) -> None:
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):  # the second not after its end
        held.process.send_signal(number)
    assert held.process.wait(60) in {128 + signal.SIGTERM, 128 + signal.SIGHUP}
    held.expect_as_before()


def test_a_key_ends_it_though_the_terminal_takes_no_output(held: Terminal) -> None:
    held.press(b"q")
    assert held.process.wait(60) == 0
    held.expect_as_before()


def test_a_terminal_that_takes_output_again_shows_what_is_now(held: Terminal, daemon: ScriptedDaemon) -> None:
    daemon.reports = serving(900.0, version="9.9.9")
    held.press(b"\x11")  # Ctrl-Q
    held.expect("utxod 9.9.9  serving")
    held.press(b"q")
    held.expect_end(0)


# ---- without one


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "utxod", "top", *OFTEN, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_into_a_pipe_it_writes_one_frame_without_a_terminals_codes(daemon: ScriptedDaemon) -> None:
    result = run("--connect", daemon.endpoint)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("utxod 0.1.0") == 1
    assert "operations" in result.stdout
    assert "\x1b" not in result.stdout


def test_where_no_daemon_could_be_asked_at_first_it_says_so(tmp_path: Path) -> None:
    result = run("--connect", f"ipc://{tmp_path}/nobody.sock", "--timeout", "0.1")
    assert result.returncode == 4
    assert "start one (utxod serve)" in result.stderr


def test_a_daemon_of_a_version_without_figures_is_told(daemon: ScriptedDaemon) -> None:
    daemon.reports = lambda: {"epoch": 1, "version": "0.0.9"}
    result = run("--connect", daemon.endpoint)
    assert result.returncode == 1
    assert "0.0.9; restart it" in result.stderr
