"""P14: a signal at any time, and whatever a parent has left in disorder, neither ends the daemon nor goes unheard."""

import os
import signal
from pathlib import Path

import pytest

import supervisor
from broker.daemon_settings import Settings
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import HEIGHT, OUTPUT, txid
from tests.support.daemon import Daemon, Start
from tests.support.interpreter import Interpreter

pytestmark = EMBEDDED_ONLY
ANY = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT})
# Sends itself a signal while it imports what the command line needs.
SEND_EARLY = """
import os, sys
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Sender())
"""


def held_back(pid: int) -> set[int]:
    """The signals that a process blocks."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk:")]
    mask = int(line.split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def expect_service(daemon: Daemon) -> None:
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"], within=60)
    with daemon.client() as client:
        assert client.create_partial(txid(1), OUTPUT, block_height=HEIGHT)["records"] == 1


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTTOU, signal.SIGUSR1, signal.SIGTSTP])
def test_a_signal_before_the_daemon_serves_does_not_end_it(
    start: Start, interpreter: Interpreter, number: signal.Signals
) -> None:
    interpreter.break_library(SEND_EARLY.format(number=int(number)))
    expect_service(start())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_before_it_serves_it_ends_well(
    start: Start, interpreter: Interpreter, number: signal.Signals
) -> None:
    interpreter.break_library(SEND_EARLY.format(number=int(number)))
    daemon = start(ready=False)
    assert daemon.process.wait(60) == 0
    daemon.log.close()
    assert f"{number.name}: draining 0 pending requests" in daemon.log.text
    daemon.expect_nothing_left()


def test_no_signal_but_those_that_tell_it_to_end_does(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    with daemon.client() as client:
        for number in ANY:
            os.kill(daemon.process.pid, number)
            assert client.create_partial(txid(number), OUTPUT, block_height=HEIGHT)["records"] == 1
    for name in ("SIGUSR1", "SIGSEGV", "SIGABRT", "SIGTSTP", "SIGQUIT", "SIGPIPE", "SIGALRM", "signal 40"):
        daemon.log.expect(f"{name}: means nothing here \\(from process {os.getpid()}\\)")


def test_a_workers_signals_are_not_held_back(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (writer,) = daemon.workers("write")
    assert held_back(writer) == {signal.SIGTTOU}
    os.kill(writer, signal.SIGTERM)
    daemon.log.expect(f"write worker {writer} is gone: it was ended by SIGTERM")


def test_a_parent_that_blocks_sigterm_can_end_it_all_the_same(start: Start) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        daemon = start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    daemon.wait_for_workers()
    daemon.end()


def test_a_failed_store_is_seen_where_the_parent_ignores_its_children(
    start: Start, interpreter: Interpreter, tmp_path: Path
) -> None:
    interpreter.wrap("trap '' CHLD; exec {python} \"$@\"")
    (tmp_path / "store").write_text("no directory")
    daemon = start(ready=False)
    assert daemon.process.wait(60) == 1
    daemon.log.close()
    assert "the workers could not start" in daemon.log.lines[-1]


def test_closed_standard_descriptors_are_not_taken_for_files(
    start: Start, interpreter: Interpreter, tmp_path: Path
) -> None:
    interpreter.wrap('exec {python} "$@" <&- >&- 2>&-')
    daemon = start()
    daemon.wait_for_workers()
    pids = [daemon.process.pid, *(process["pid"] for process in daemon.status()["processes"])]
    for pid in pids:
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    expect_service(daemon)
    holder = (tmp_path / "store" / "writer.lock").read_bytes()
    assert int(holder.split()[0]) in daemon.workers("write")


NO_HOME = """
import os, pwd
os.environ.pop("HOME", None)
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
"""


def test_without_a_home_a_daemon_that_is_told_everything_serves(start: Start, interpreter: Interpreter) -> None:
    interpreter.break_library(NO_HOME)
    expect_service(start())


@pytest.mark.usefixtures("store_kind")
def test_without_a_home_the_setting_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    for name in ("HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(supervisor.StartError, match=r"^store: not set, .*--set store="):
        supervisor.Supervisor(Settings(listen=("ipc:///nowhere/u.sock",)), "")
    with pytest.raises(supervisor.StartError, match=r"^state: not set, .*--set state="):
        supervisor.Supervisor(Settings("null:", ("ipc:///nowhere/u.sock",)), "")
