"""A terminal or a pipe that takes no output: what is drawn there waits for nobody, and who waits can be told to end."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.patience import until
from tests.support.terminal import fill
from utxod.import_guard import ROOT
from utxod.rendering import count_progress
from utxod.screen import Screen


class Terminal:
    """ours: what is read from it. theirs: what is written to it."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        tty.setraw(theirs)
        os.set_blocking(self.ours, False)
        self.theirs = os.fdopen(theirs, "w")

    def read(self) -> bytes:
        """What it shows, and has shown: what fills it."""
        read = b""
        with suppress(BlockingIOError):
            while chunk := os.read(self.ours, 1 << 16):
                read += chunk
        return read


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.theirs.close()
    os.close(terminal.ours)


def test_what_is_cut_off_goes_on_where_it_was(terminal: Terminal) -> None:
    frames = [f"\x1b[H{number:06}\x1b[31m" * 1_000 for number in range(20)]
    with closing(Screen(terminal.theirs)) as screen:
        for frame in frames:
            screen.write(frame)
            screen.flush()
        assert screen.waits
        read = b""
        while screen.waits:
            read += terminal.read()
            screen.flush()
        read += terminal.read()
    assert "".join(frames).encode().startswith(read)
    assert len(read) % len(frames[0]) == 0


def test_what_waits_is_bounded_and_lost_where_nobody_wants_it(terminal: Terminal) -> None:
    with closing(Screen(terminal.theirs)) as screen:
        fill(terminal.theirs.fileno())
        for _ in range(1_000):
            screen.write("x" * 1_000)
            screen.flush()
        assert not screen.wait(0)
    assert os.get_blocking(terminal.theirs.fileno())


def test_a_bar_holds_nobody_up_until_it_ends(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed after it would wait."""
    monkeypatch.setattr(sys, "stderr", terminal.theirs)
    done, ended = threading.Event(), threading.Event()

    def work() -> None:
        with count_progress("converting", 5) as progress:
            fill(terminal.theirs.fileno())
            for _ in range(5):
                progress(1)
            done.set()
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert done.wait(30)
    read = b""

    def look() -> bool:
        nonlocal read
        read += terminal.read()
        return ended.is_set()

    until(look, 30)
    thread.join()
    assert (read + terminal.read()).rfind(b"\x1b[?25h") > 0


def test_a_bar_that_is_interrupted_waits_for_nobody(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.theirs)

    def interrupted() -> None:
        with count_progress("converting", 5):
            fill(terminal.theirs.fileno())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


WORK = """
import asyncio
from utxod.interruption import run_to_an_end

async def work():
    try:
        while True:
            print("x" * 100)
            await asyncio.sleep(0)
    finally:
        print("in order", file=open("end", "w"))

run_to_an_end(work())
"""

COMMAND = """
import click
from utxod.exits import run

def work():
    while True:
        click.echo("x" * 100)

run(click.Command("work", callback=work), "work")
"""


def standing_in_a_write(*command: str, where: Path) -> subprocess.Popen[bytes]:
    """The command, whose output nobody reads."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=where, env=environment()
    )
    until(lambda: calls_write(process.pid), 60)
    return process


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}


def calls_write(pid: int) -> bool:
    """It is in write(2) to standard output."""
    number, descriptor, *_ = (*Path(f"/proc/{pid}/syscall").read_text().split(), "")
    return number in ("1", "64") and descriptor == "0x1"  # x86-64, ARM


def has_taken(pid: int, number: signal.Signals) -> bool:
    """The signal, and is in the write again."""
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return not any(int(mask, 16) >> number - 1 & 1 for mask in pending) and calls_write(pid)


def end(
    process: subprocess.Popen[bytes], last: signal.Signals, first: signal.Signals | None = None
) -> tuple[int, bytes]:
    """Status, and standard error but for blanks. first: a signal before it; of two that wait together the lower number
    is taken first."""
    try:
        if first:
            assert first < last
            process.send_signal(first)
            until(lambda: has_taken(process.pid, first), 60)
        process.send_signal(last)
        status = process.wait(60)
        assert process.stderr is not None
        return status, process.stderr.read().strip()
    finally:
        process.kill()
        process.communicate()


def test_work_that_stands_in_a_write_ends_in_order_at_the_second_signal(tmp_path: Path) -> None:
    process = standing_in_a_write("-c", WORK, where=tmp_path)
    assert end(process, signal.SIGTERM, first=signal.SIGHUP) == (128 + signal.SIGHUP, b"")
    assert (tmp_path / "end").read_text() == "in order\n"


def test_a_command_that_stands_in_a_write_ends_at_ctrl_c(tmp_path: Path) -> None:
    process = standing_in_a_write("-c", COMMAND, where=tmp_path)
    assert end(process, signal.SIGINT) == (130, b"")
