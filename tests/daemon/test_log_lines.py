"""The log: one line an event, whoever writes it and whatever is in it: as text, as JSON, as the journal wants it."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import Callers
from tests.support.daemon import ROOT, SHORT_BUDGET, Daemon, Start
from tests.support.interpreter import Interpreter
from tests.support.patience import until

JSON = {"log.format": "json"}
EVENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
# What a library may do beside the daemon's back, and in a worker.
NOISE = """
import threading, warnings, weakref
class Finalized:
    def __del__(self):
        raise ValueError("in a finalizer")
def fail():
    raise KeyError("in a thread")
def make_noise():
    threading.Thread(target=fail).start()
    Finalized()
    warnings.warn("old\\nhabits", stacklevel=1)
import gc
collect = gc.freeze
def freeze():
    make_noise()
    collect()
gc.freeze = freeze
"""


def events(daemon: Daemon) -> list[dict[str, Any]]:
    """Every line that there is, as JSON: it fails where one is none."""
    return [json.loads(line) for line in daemon.log.lines]


def one(found: list[dict[str, Any]], words: str) -> dict[str, Any]:
    """The first event whose message has these words."""
    return next(event for event in found if words in event["message"])


def live_through_a_loss(daemon: Daemon) -> None:
    """A worker's own line, its loss, and its end, without the dump of its stacks."""
    daemon.wait_for_workers()
    with daemon.client() as client, Callers(client) as callers:
        daemon.faults.set(kind="time_out")
        until(lambda: callers.create(1).result()[0] == "STORE_ERROR")
        daemon.faults.clear()
        daemon.log.expect("the store did not answer in time")
    (writer,) = daemon.workers("write")
    os.kill(writer, signal.SIGKILL)
    daemon.log.expect(f"write worker {writer} is gone")
    daemon.wait_for_workers()
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0
    daemon.log.close()


@EMBEDDED_ONLY
def test_in_json_every_line_is_one_object_that_says_when_who_and_what(start: Start) -> None:
    daemon = start({**SHORT_BUDGET, **JSON})
    live_through_a_loss(daemon)
    found = events(daemon)
    for event in found:
        assert {"time", "level", "logger", "message", "process", "pid"} <= event.keys()
        assert datetime.fromisoformat(event["time"]).tzinfo is not None
    assert one(found, "serving at")["process"] == "daemon"
    assert one(found, "serving at")["pid"] == daemon.process.pid
    by_worker = one(found, "the store did not answer in time")
    assert (by_worker["process"], by_worker["pool"], by_worker["level"]) == ("write worker", "write", "warning")
    gone = one(found, "is gone: it was ended by SIGKILL")
    assert (gone["pool"], gone["worker"]) == ("write", by_worker["pid"])


@EMBEDDED_ONLY
def test_in_text_every_line_has_its_time_and_level(start: Start) -> None:
    daemon = start(SHORT_BUDGET)
    live_through_a_loss(daemon)
    assert [line for line in daemon.log.lines if not EVENT.match(line)] == []
    assert re.search(r" WARNING write worker \d+: .*the store did not answer in time", daemon.log.text)


@EMBEDDED_ONLY
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_threads_finalizers_and_warnings_say_are_events_in_daemon_and_workers(
    start: Start, interpreter: Interpreter, form: str
) -> None:
    interpreter.break_library(NOISE)
    daemon = start({"log.format": form})
    for words in ("a thread ends by a defect", "a defect in Finalized.__del__", "habits"):
        daemon.log.expect(words, count=4, within=60)  # the daemon's, and its workers'
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0
    daemon.log.close()
    if form == "json":
        found = events(daemon)
        for process in ("daemon", "write worker"):
            said = [event for event in found if event["process"] == process]
            assert "KeyError: 'in a thread'" in one(said, "a thread ends by a defect")["traceback"]
            assert "ValueError: in a finalizer" in one(said, "a defect in Finalized.__del__")["traceback"]
            assert "old\nhabits" in one(said, "habits")["message"]
        return
    assert [line for line in daemon.log.lines if not EVENT.match(line) and not line.startswith("    ")] == []
    assert "old\\nhabits" in daemon.log.text
    assert "    KeyError: 'in a thread'" in daemon.log.lines


@EMBEDDED_ONLY
def test_what_ends_the_daemon_is_an_event(start: Start, interpreter: Interpreter) -> None:
    interpreter.break_library("import zmq\nzmq.Poller.poll = lambda self, timeout=None: 1 / 0\n")
    daemon = start(JSON, ready=False)
    assert daemon.process.wait(60) == 1
    daemon.log.close()
    assert "ZeroDivisionError" in one(events(daemon), "ends by a defect")["traceback"]


@EMBEDDED_ONLY
def test_where_it_cannot_start_the_reason_is_an_event(start: Start, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no directory")
    daemon = start(JSON, ready=False)
    assert daemon.process.wait(60) == 1
    daemon.log.close()
    found = events(daemon)
    assert one(found, "the store can't be opened")["process"] != "daemon"
    assert (found[-1]["level"], "the workers could not start" in found[-1]["message"]) == ("critical", True)


@EMBEDDED_ONLY
def test_below_the_level_nothing_is_logged_and_workers_keep_to_it(start: Start) -> None:
    daemon = start({**SHORT_BUDGET, "log.level": "error"})
    daemon.wait_for_workers()
    (writer,) = daemon.workers("write")
    with daemon.client() as client, Callers(client) as callers:
        daemon.faults.set(kind="time_out")
        until(lambda: callers.create(1).result()[0] == "STORE_ERROR")
        daemon.faults.clear()
    os.kill(writer, signal.SIGKILL)
    daemon.wait_until(lambda status: writer not in [process["pid"] for process in status["processes"]])
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0
    daemon.log.close()
    assert {EVENT.match(line)[1] for line in daemon.log.lines} == {"ERROR"}


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A stream as systemd gives a service one: the variable names the socket that is standard error."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = os.fstat(theirs.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        monkeypatch.setenv("LOG_DESCRIPTOR", str(theirs.fileno()))
        os.set_inheritable(theirs.fileno(), True)
        yield ours


SAY = """
import logging, os, sys
os.dup2(int(os.environ["LOG_DESCRIPTOR"]), 2)
from workers import log_lines
log_lines.set_up("debug", {form!r}, {who!r})
log = logging.getLogger("utxod")
log.debug("one")
log.info("two")
log.warning("three")
log.error("four\\n<0>forged")
log.critical("five")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("six")
"""


def say(journal: socket.socket, form: str, who: str) -> list[str]:
    code = SAY.format(form=form, who=who)
    descriptor = int(os.environ["LOG_DESCRIPTOR"])
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, pass_fds=[descriptor])
    return journal.recv(1 << 16).decode().splitlines()


def test_the_journal_is_given_priorities_in_place_of_time_and_level(journal: socket.socket) -> None:
    lines = say(journal, "text", "")
    assert lines[:6] == ["<7>one", "<6>two", "<4>three", "<3>four\\n<0>forged", "<2>five", "<3>six"]
    assert all(line.startswith("<3>    ") for line in lines[6:])
    assert lines[-1] == "<3>    ZeroDivisionError: division by zero"


def test_the_journal_is_told_which_worker_it_is(journal: socket.socket) -> None:
    assert re.fullmatch(r"<7>write worker \d+: one", say(journal, "text", "write worker")[0])


def test_the_journal_is_given_json_with_its_priority(journal: socket.socket) -> None:
    lines = say(journal, "json", "")
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>", "<2>", "<3>"]
    assert [json.loads(line[3:])["level"] for line in lines[-2:]] == ["critical", "error"]
    assert json.loads(lines[3][3:])["message"] == "four\n<0>forged"


def test_another_stream_than_the_journals_gets_time_and_level(journal: socket.socket, monkeypatch: Any) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert all(EVENT.match(line) or line.startswith("    ") for line in say(journal, "text", ""))


@pytest.mark.parametrize("text", ["x" * 100_000, "\x01" * 100_000, "\N{CAT FACE}" * 40_000, "\udc80" * 20_000])
def test_a_line_of_json_is_whole_however_long_its_message_is(text: str) -> None:
    from workers.log_lines import _Json

    formatter = _Json("", {})
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("utxod", logging.ERROR, "", 0, "%s", (text,), sys.exc_info())
    record.requests = ["ab" * 16] * 5000
    line = formatter.format(record).encode("utf-8", "backslashreplace")
    assert len(line) < 1 << 15
    assert json.loads(line)["level"] == "error"


def test_a_line_whose_arguments_do_not_fit_is_told_all_the_same() -> None:
    from workers.log_lines import _Text

    record = logging.LogRecord("utxod", logging.ERROR, "", 0, "%d of %d", ("one",), None)
    assert "%d of %d" in _Text("").format(record)
