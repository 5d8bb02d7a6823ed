"""`utxod top`: what it shows of a daemon, at every size, and that the terminal is as it was when it ends."""

import io
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from tests.support.patience import until
from tests.support.reports import changed, report
from tests.support.scripted_daemon import ScriptedDaemon, answer_nothing
from tests.support.terminal import Terminal
from utxod.import_guard import ROOT
from utxod.interval import Interval
from utxod.top.frame import frame
from utxod.top.head import Gone
from utxod.top.history import History, rate_of_answers
from utxod.top.marks import bar, chart, short

# What is missing is noticed by the interval, not by the timeout.
OFTEN = ("--interval", "0.1", "--timeout", "30")
TROUBLE = {"pools.write.breaker": "open", "pools.write.oldest_seconds": 9.0, "log_lines_dropped.workers": 7}


def serving(since: float, **changes: Any) -> Callable[[], dict[str, Any]]:
    """Reports of a daemon, a second older each time."""
    seconds = itertools.count(since)
    return lambda: changed(report(next(seconds)), changes)


def history(workers: int = 3) -> History:
    """Of some seconds under load."""
    made = History(report(600.0))
    for second in range(1, 20):
        made.add(report(600.0 + second))
    made.latest["processes"].extend(made.latest["processes"][0] for _ in range(workers - 3))
    return made


def lines(shown: History, gone: Gone | None, width: int, height: int | None) -> list[str]:
    to = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    with to.capture() as captured:
        to.print(frame(shown, gone, "12:34:56", width, height))
    return captured.get().removesuffix("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 18), (100, 30), (132, 43), (250, 80), (20, 5), (1, 1)])
@pytest.mark.parametrize("workers", [3, 40, 500])
def test_a_frame_fits_its_terminal(width: int, height: int, workers: int) -> None:
    shown = history(workers)
    least = 17  # one line of each kind; a terminal cuts what is beyond
    for gone in (None, Gone(12.0, "no answer")):
        made = lines(shown, gone, width, height)
        assert len(made) <= max(height, least)
        assert all(len(line) <= width for line in made)
    shown.add(changed(report(620.0), TROUBLE))
    assert len(lines(shown, None, width, height)) <= max(height, least)


def test_at_80_by_24_everything_has_a_place() -> None:
    text = "\n".join(lines(history(), None, 80, 24))
    assert "…" not in text.partition("answered")[0]
    for wanted in ("utxod 0.1.0", "serving", "all is well", "12:34:56", "submitters", "in flight", "breaker"):
        assert wanted in text
    for wanted in (
        "read",
        "write",
        "children",
        "queue",
        "store",
        "batch",
        "OK",
        "SPENT",
        "4102 busy",
        "in doubt",
        "q ends",
    ):
        assert wanted in text


def test_at_60_columns_nothing_of_a_pool_is_cut_off() -> None:
    text = "\n".join(lines(history(), None, 60, 30)[3:]).partition("answered")[0]
    assert "…" not in text
    for wanted in ("children", "in flight", "breaker", "1 of 1", "closed", "worker", "store", "batch", "operations"):
        assert wanted in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_operations_stand_in_the_columns_of_their_pools(width: int) -> None:
    titles = [line for line in lines(history(), None, width, 40) if "items/s" in line]
    assert len(titles) == 2
    for title in ("items/s", "queue", "store", "batch"):
        assert len({line.index(title) for line in titles}) == 1


def test_what_is_wrong_stands_at_the_top_and_with_its_remedy_where_there_is_room() -> None:
    shown = history()
    shown.add(changed(report(620.0), TROUBLE))
    text = lines(shown, None, 100, 40)
    assert text[2].startswith(" ✗ UtxodBreakerOpen")
    assert text[3].startswith("   → ")
    assert "UtxodLogDropped" in text[4]


def test_a_pool_without_a_worker_just_now_is_not_well() -> None:
    """Where it had one a moment ago: the doctor finds nothing yet."""
    shown = history()
    shown.add(changed(report(620.0), {"pools.write.workers": 0, "pools.write.idle": 0}))
    assert " … no worker just now: write" in [line.rstrip() for line in lines(shown, None, 80, 24)]


def test_users_and_passwords_in_the_store_s_url_are_not_shown() -> None:
    shown = History(changed(report(), {"store": "aerospike://user:secret@host:3000/name/set?password-file=/x"}))
    head = lines(shown, None, 200, 24)[0]
    assert "aerospike://host:3000/name/set" in head
    assert "secret" not in head
    assert "/x" not in head


# Clears the screen, renames the window, rings, overwrites the line, and turns the text around.
OBEYED = "\x1b[2J\x1b]0;name\x07\x9b2J\x00\x7f\b\r\n\u202e"


def test_nothing_that_a_report_says_is_obeyed_by_the_terminal() -> None:
    shown = history()
    poisoned = changed(report(620.0), TROUBLE | {"store": f"lmdb://{OBEYED}/x", "version": OBEYED})
    poisoned["pools"]["write"]["breaker"] += OBEYED
    for listed in (poisoned["processes"], poisoned["figures"]["answers"], poisoned["figures"]["worker_exits"]):
        for row in listed:
            row |= {key: value + OBEYED for key, value in row.items() if key in ("state", "code", "cause")}
    shown.add(poisoned)
    for gone in (None, Gone(12.0, OBEYED)):
        made = lines(shown, gone, 100, 40)
        assert made[1].startswith(" 4 submitters")
        assert all(line.isprintable() for line in made)


def test_more_workers_than_fit_are_told() -> None:
    assert any("lines more" in line for line in lines(history(workers=100), None, 80, 24))


def test_after_a_restart_rates_start_anew_and_are_never_negative() -> None:
    shown = history()
    again = changed(report(2.0), {"epoch": 7})
    shown.add(again)
    assert shown.now.seconds == 2.0
    assert rate_of_answers(shown.now) == rate_of_answers(Interval.since_start(again)) > 0
    assert min(shown.rates) >= 0
    assert not re.search(r"-\d", "\n".join(lines(shown, None, 120, None)))


def test_a_daemon_that_has_done_nothing_yet_can_be_shown() -> None:
    shown = History(report(0.0, 0))
    assert "serving" in lines(shown, None, 80, 24)[0]
    shown.add(changed(report(0.0, 0), {"processes": [], "pools.write.workers": 0}))
    assert "not ready" in lines(shown, None, 80, 24)[0]


def test_numbers_are_short_and_bars_show_whatever_there_is() -> None:
    assert [short(number) for number in (0, 7.25, 999, 1000, 20_000, 1_500_000)] == [
        "0", "7.2", "999", "1.00k", "20.0k", "1.50M",
    ]  # fmt: skip
    assert (bar(0.0, 4), bar(0.00001, 4), bar(0.5, 4), bar(2.0, 4)) == ("", "▏", "██", "████")
    assert chart([0, 1, 2], 4, 2) == ["   █", "  ██"]
    assert chart([], 3, 1) == ["   "]


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
