"""P14: the recorder may be killed, stopped, or without a disk: nobody waits for it, and it goes on; and what a daemon
had said before it was killed is written down."""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.receipts.channel import Channel
from broker.receipts.mailbox import Mailbox
from broker.receipts.reading import Found, Receipts
from broker.receipts.recorder import Recorder
from broker.receipts.records import pack_dispatched, pack_started
from tests.support.daemon import ROOT, End
from tests.support.patience import until

EPOCH = 3
SIZE = 1 << 20
# A daemon in small: it starts a recorder, says its pid, and that it has sent all.
DAEMON = """
import os, sys, time
from pathlib import Path
from broker.receipts.channel import Channel
from tests.broker.test_receipts_recorder import dispatched, start
channel = Channel(3)
recorder = start(channel, Path(sys.argv[1]))
channel.send([dispatched(1)], 1)
print(recorder.pid, flush=True)
input()
for number in range(2, 301):
    channel.send([dispatched(number)], number)
print("sent", flush=True)
time.sleep(600)
"""


def request_id(number: int) -> bytes:
    return b"request %08d" % number


def dispatched(number: int) -> bytes:
    (record,) = pack_dispatched(EPOCH, number, number, 77, "write", "spend", request_id(number), [number], [1])
    return record


def start(channel: Channel, directory: Path) -> "subprocess.Popen[str]":
    module, arguments, descriptors = channel.program(directory, SIZE)
    return subprocess.Popen(
        [sys.executable, "-m", module, str(os.getpid()), *arguments],
        pass_fds=descriptors,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


class Sender:
    """The daemon's side, in this process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.channel = Channel(EPOCH, room=1 << 18)
        self.recorders: list[subprocess.Popen[str]] = []
        self.send(pack_started(EPOCH, 1, os.getpid(), "1"))

    def start(self) -> "subprocess.Popen[str]":
        self.recorders.append(start(self.channel, self.directory))
        return self.recorders[-1]

    def send(self, *records: bytes) -> None:
        self.channel.send(records, time.monotonic_ns() // 1000)

    def end(self) -> None:
        self.channel.close()
        for recorder in self.recorders:
            recorder.wait(30)


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    sender = Sender(tmp_path / "state")
    yield sender
    for recorder in sender.recorders:
        with contextlib.suppress(ProcessLookupError):
            recorder.kill()
        recorder.wait()


def find(directory: Path, number: int) -> Found:
    with Receipts(directory) as receipts:
        return receipts.find(request_id(number))


def is_there(directory: Path, number: int) -> bool:
    return bool(find(directory, number).executions)


def gaps(directory: Path) -> list[tuple[int, int]]:
    coverage = find(directory, 0).coverage
    assert coverage is not None
    return coverage.gaps


def test_it_writes_soon_and_to_the_end(sender: Sender) -> None:
    sender.start()
    sender.send(dispatched(1))
    until(lambda: is_there(sender.directory, 1), within=60)
    sender.send(*map(dispatched, range(2, 1000)))
    sender.end()
    assert is_there(sender.directory, 999)
    assert gaps(sender.directory) == []
    assert sender.recorders[0].returncode == 0


def test_it_does_not_end_before_its_daemon(sender: Sender) -> None:
    recorder = sender.start()
    sender.send(dispatched(1))
    until(lambda: is_there(sender.directory, 1), within=60)
    for number in (signal.SIGTERM, signal.SIGTERM):
        recorder.send_signal(number)
    sender.send(dispatched(2))
    sender.end()
    assert is_there(sender.directory, 2)
    assert recorder.returncode == 0


def test_one_that_is_killed_is_followed_by_another_that_goes_on(sender: Sender) -> None:
    first = sender.start()
    sender.send(dispatched(1))
    until(lambda: is_there(sender.directory, 1), within=60)
    first.kill()
    first.wait()
    sender.send(dispatched(2))  # while there is none
    sender.start()
    sender.send(dispatched(3))
    sender.end()
    assert all(is_there(sender.directory, number) for number in (1, 2, 3))
    assert [path.name for path in sender.directory.iterdir()] == ["receipts.ring"]


def test_nobody_waits_for_one_that_is_stopped_and_what_it_misses_is_counted_and_known(sender: Sender) -> None:
    recorder = sender.start()
    sender.send(dispatched(1))
    until(lambda: is_there(sender.directory, 1), within=60)
    recorder.send_signal(signal.SIGSTOP)
    number = 1
    while not sender.channel.dropped:
        number += 1
        sender.send(dispatched(number))
    recorder.send_signal(signal.SIGCONT)

    def sends_until_it_is_there() -> bool:
        sender.send(dispatched(number + 1))
        return is_there(sender.directory, number + 1)

    until(sends_until_it_is_there, within=60)
    sender.end()
    assert is_there(sender.directory, 2)
    assert gaps(sender.directory)
    assert sender.channel.dropped


def test_nothing_is_missing_where_a_stopped_one_goes_on_in_time(sender: Sender) -> None:
    recorder = sender.start()
    sender.send(dispatched(1))
    until(lambda: is_there(sender.directory, 1), within=60)
    recorder.send_signal(signal.SIGSTOP)
    sender.send(*(dispatched(2) for _ in range(500)))
    sender.send(dispatched(3))
    recorder.send_signal(signal.SIGCONT)
    sender.end()
    assert is_there(sender.directory, 3)
    assert gaps(sender.directory) == []


def test_without_a_disk_it_says_so_once_and_goes_on_when_it_is_back(sender: Sender) -> None:
    begun = time.time_ns() // 1000  # the daemon's start was said before
    sender.directory.parent.mkdir(exist_ok=True)
    sender.directory.write_text("no directory")
    recorder = sender.start()
    lines = recorder.stderr
    assert lines is not None
    assert "receipts can't be written" in lines.readline()
    sender.send(dispatched(1))
    sender.send(dispatched(2))
    sender.directory.unlink()

    def sends_until_it_is_there() -> bool:
        sender.send(dispatched(3))
        return sender.directory.is_dir() and is_there(sender.directory, 3)

    until(sends_until_it_is_there, within=60)
    sender.end()
    rest = lines.read()
    assert "can't be written" not in rest
    [missing] = re.findall(r"receipts are written again; (\d+) messages of them are missing", rest)
    assert int(missing) >= 1  # the daemon's start, at least
    coverage = find(sender.directory, 0).coverage
    assert coverage is not None
    assert not coverage.is_whole(begun, coverage.until)


def test_a_file_that_may_not_grow_is_gone_round_in_and_one_that_may_again_is_filled(sender: Sender) -> None:
    """As on a disk that is full."""
    recorder = sender.start()
    sender.send(dispatched(1))
    until(lambda: is_there(sender.directory, 1), within=60)
    written = (sender.directory / "receipts.ring").stat().st_size
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (written, resource.RLIM_INFINITY))
    sender.send(dispatched(2))
    lines = recorder.stderr
    assert lines is not None
    assert "receipts are kept" in lines.readline()
    assert "File too large" in lines.readline()
    assert is_there(sender.directory, 1)
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sender.send(dispatched(3))
    sender.end()
    assert is_there(sender.directory, 1)
    assert is_there(sender.directory, 3)
    assert not is_there(sender.directory, 2)
    assert gaps(sender.directory)


def test_a_ring_that_somebody_removes_is_begun_anew(sender: Sender) -> None:
    sender.start()
    sender.send(dispatched(1))
    until(lambda: is_there(sender.directory, 1), within=60)
    (sender.directory / "receipts.ring").unlink()
    sender.send(dispatched(2))
    sender.end()
    assert is_there(sender.directory, 2)
    assert not is_there(sender.directory, 1)


def test_who_stands_still_between_two_looks_at_the_clocks_dates_nothing_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, time_of_day = 5_000_000_000, 1_000_000_000_000_000_000
    stops = iter([3_000_000_000])

    def time_ns() -> int:
        nonlocal now
        seen = time_of_day + now
        now += next(stops, 0)
        return seen

    monkeypatch.setattr("time.time_ns", time_ns)
    monkeypatch.setattr("time.monotonic_ns", lambda: now)
    channel = Channel(EPOCH)
    link, memory = map(os.dup, channel.theirs)
    channel.send([dispatched(1)], 1)
    channel.close()
    with socket.socket(fileno=link) as theirs:
        Recorder(theirs, Mailbox(memory), EPOCH, tmp_path, SIZE).run()
    os.close(memory)
    (execution,) = find(tmp_path, 1).executions
    assert execution.handed == time_of_day // 1000 + 1


@pytest.mark.parametrize("is_stopped", [False, True])
def test_what_a_daemon_had_said_before_it_was_killed_is_written_and_known_to_be_all(
    tmp_path: Path, is_stopped: bool
) -> None:
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    pid = int(daemon.stdout.readline())
    until(lambda: is_there(tmp_path, 1), within=60)
    end = End(pid)
    if is_stopped:
        os.kill(pid, signal.SIGSTOP)
    print(file=daemon.stdin, flush=True)
    assert daemon.stdout.readline() == "sent\n"
    daemon.kill()
    daemon.wait()
    assert end.wait(30)
    found = find(tmp_path, 300)
    assert found.executions
    assert found.daemons[EPOCH].ended
    assert gaps(tmp_path) == []
    daemon.stdin.close()
    daemon.stdout.close()
