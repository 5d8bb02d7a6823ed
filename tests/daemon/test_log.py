"""P14: a log that nobody reads, or that can't be written, holds up neither the daemon nor its workers, nor its end."""

import contextlib
import fcntl
import os
import pty
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import Callers
from tests.support.daemon import IS_THERE, SHORT, SHORT_BUDGET, Daemon, End, Start
from tests.support.interpreter import Interpreter
from tests.support.patience import SOON, until
from workers.nonblocking_stderr import NonBlockingWriter

# A shell's job in the background of a terminal with `tostop`: arguments are the terminal, then the daemon's command.
# Its parent says when it is ready: at SIGUSR1 another process of the same job writes to the terminal, which has the
# kernel send SIGTTOU to the whole job.
TERMINAL = """
import os, signal, subprocess, sys, termios
leader = os.fork()
if leader:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]))
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)
attributes = termios.tcgetattr(terminal)
attributes[3] |= termios.TOSTOP
termios.tcsetattr(terminal, termios.TCSANOW, attributes)
daemon = subprocess.Popen(sys.argv[2:], stderr=terminal, process_group=0)
others = []
def write(*_):
    others.append(subprocess.Popen(["sh", "-c", "echo from another"], stdout=terminal, process_group=daemon.pid))
signal.signal(signal.SIGUSR1, write)
os.write(terminal, b"parent is ready")
status = daemon.wait()
for other in others:
    other.kill()
sys.exit(status)
"""


class Pipe:
    """A named pipe that is full from the beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.fill()

    def fill(self) -> None:
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while os.write(self.descriptor, b"x" * size):
                    pass

    def read(self) -> bytes:
        """What is in it now."""
        taken = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.descriptor, 1 << 16):
                taken += chunk
        return taken

    def close(self) -> None:
        os.close(self.descriptor)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.close()


def expect_service_and_an_end(daemon: Daemon) -> None:
    """Also where workers and the daemon have something to say."""
    pid = daemon.wait_for_workers()["pid"]
    with daemon.client() as client, Callers(client) as callers:
        daemon.faults.set(kind="time_out")
        until(lambda: callers.create(1).result()[0] == "STORE_ERROR")  # its worker says so
        daemon.faults.clear()
        until(lambda: callers.create(1).result()[0] in IS_THERE)
        until(lambda: dumps_and_works_on(daemon, callers))
        daemon.faults.set(kind="hang")
        until(lambda: callers.create(2).result()[0] == "WORKER_CRASHED")  # and dumps its stacks
        daemon.faults.clear()
        until(lambda: callers.create(2).result()[0] in IS_THERE)
    os.kill(pid, signal.SIGUSR2)  # is logged
    end = End(pid)
    os.kill(pid, signal.SIGTERM)
    assert end.wait(60)
    assert daemon.process.wait(60) == 0


def dumps_and_works_on(daemon: Daemon, callers: Callers) -> bool:
    """Whether the worker that is there now does, which is told to dump its stacks."""
    daemon.wait_for_workers()
    before = daemon.workers("write")
    with contextlib.suppress(ProcessLookupError):
        os.kill(before[0], signal.SIGUSR1)
    return callers.create(3).result()[0] in IS_THERE and daemon.workers("write") == before


@EMBEDDED_ONLY
def test_a_pipe_that_nobody_drains_stops_nothing(start: Start, interpreter: Interpreter, pipe: Pipe) -> None:
    interpreter.wrap(f'exec {{python}} "$@" 2>{pipe.path}')
    expect_service_and_an_end(start(SHORT))


@EMBEDDED_ONLY
def test_a_pipe_that_is_read_again_tells_all_that_happened(start: Start, interpreter: Interpreter, pipe: Pipe) -> None:
    interpreter.wrap(f'exec {{python}} "$@" 2>{pipe.path}')
    daemon = start(SHORT)
    daemon.wait_for_workers()
    seen = bytearray()

    def serving_is_told() -> bool:
        seen.extend(pipe.read())
        return b"serving at" in seen

    until(serving_is_told)


@EMBEDDED_ONLY
@pytest.mark.parametrize("where", ["/dev/full", "closed"])
def test_a_log_that_cannot_be_written_stops_nothing(
    start: Start, interpreter: Interpreter, pipe: Pipe, where: str
) -> None:
    interpreter.wrap(f'exec {{python}} "$@" 2>{pipe.path if where == "closed" else where}')
    daemon = start(SHORT)
    if where == "closed":
        pipe.read()
        os.dup2(os.open(os.devnull, os.O_RDONLY), pipe.descriptor)  # its only reader is gone
    expect_service_and_an_end(daemon)


@EMBEDDED_ONLY
def test_a_full_log_does_not_hold_up_a_daemon_that_cannot_start(
    start: Start, interpreter: Interpreter, pipe: Pipe, tmp_path: Path
) -> None:
    interpreter.wrap(f'exec {{python}} "$@" 2>{pipe.path}')
    (tmp_path / "store").write_text("no directory")
    assert start(ready=False).process.wait(60) == 1


@EMBEDDED_ONLY
def test_in_the_background_of_a_terminal_it_writes_and_keeps_its_workers(
    start: Start, interpreter: Interpreter, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK)
    job = tmp_path / "job.py"
    job.write_text(TERMINAL)
    interpreter.wrap(f'exec {{python}} {job} {os.ttyname(theirs)} {{python}} "$@"')
    daemon = start({**SHORT_BUDGET, "workers.write": 2})
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 2, within=60)
    workers = daemon.workers("write")
    seen = bytearray()

    def wrote(text: bytes) -> bool:
        with contextlib.suppress(BlockingIOError):
            seen.extend(os.read(ours, 1 << 16))
        return text in seen

    until(lambda: wrote(b"serving at"))
    until(lambda: wrote(b"parent is ready"))
    pid = daemon.status()["pid"]
    os.kill(psutil.Process(pid).ppid(), signal.SIGUSR1)
    until(lambda: wrote(b"SIGTTOU: means nothing here"))
    with daemon.client() as client, Callers(client) as callers:
        daemon.faults.set(kind="time_out")
        until(lambda: callers.create(1).result()[0] == "STORE_ERROR")
        until(lambda: wrote(b"the store did not answer in time"))
        daemon.faults.clear()
        until(lambda: callers.create(1).result()[0] in IS_THERE)
    assert daemon.workers("write") == workers
    os.kill(pid, signal.SIGTERM)
    assert daemon.process.wait(60) == 0
    os.close(ours)
    os.close(theirs)


def test_a_non_blocking_writer_keeps_what_fits_and_says_how_many_lines_are_missing(
    pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    writer = NonBlockingWriter(os.open(pipe.path, os.O_WRONLY), capacity=10)
    writer.write(b"line 0\n")
    until(writer._queue.empty)  # it is in its thread's hands
    for number in range(1, 30):
        writer.write(b"line %d\n" % number)
    read = b""

    def all_is_read() -> bool:
        nonlocal read
        is_told = "lines are missing" in caplog.text  # which comes behind all that could be written
        read += pipe.read()
        return is_told

    until(all_is_read)
    assert read.lstrip(b"x") == b"".join(b"line %d\n" % number for number in range(11))
    assert "19 lines are missing here" in caplog.text


@pytest.mark.parametrize("begin", ["", "x", "xx", "xxx"])
@pytest.mark.parametrize("character", ["x", "\N{EURO SIGN}", "\N{CAT FACE}"])
def test_a_line_that_is_too_long_is_cut_between_two_characters(pipe: Pipe, begin: str, character: str) -> None:
    pipe.read()
    writer = NonBlockingWriter(os.open(pipe.path, os.O_WRONLY))
    text = begin + character * 20_000
    writer.write(text.encode() * 2)
    writer.finish(SOON)
    read = pipe.read().decode()
    assert read.endswith("...\n")
    assert (text * 2).startswith(read.removesuffix("...\n"))
    assert 32_000 < len(read.encode()) < 33_000


def test_a_non_blocking_writer_writes_in_order_also_where_the_descriptor_does_not_wait(pipe: Pipe) -> None:
    pipe.read()
    writer = NonBlockingWriter(pipe.descriptor, capacity=100_000)
    lines = [b"%d" % number * 50 + b"\n" for number in range(2000)]
    for line in lines:
        writer.write(line)
    read = bytearray()
    until(lambda: read.extend(pipe.read()) or len(read) == sum(map(len, lines)))
    assert bytes(read) == b"".join(lines)


def test_the_end_does_not_wait_for_ever(pipe: Pipe) -> None:
    writer = NonBlockingWriter(os.open(pipe.path, os.O_WRONLY))
    writer.write(b"nobody reads this\n")
    finishing = threading.Thread(target=writer.finish, args=(0.1,))
    finishing.start()
    finishing.join(SOON)
    assert not finishing.is_alive()
