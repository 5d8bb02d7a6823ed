"""The measurement of hard surroundings, briefly; and what it uses of the chaos run: the log's pipe, the crowds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.report import ANSWERED
from tests.chaos.crowd import STRANGERS
from tests.chaos.log_pipe import LogPipe
from tests.chaos.run import IN_TIME
from tests.chaos.surroundings import Surroundings
from tests.standstill.__main__ import COMMAND
from tests.standstill.run import NAMES, SERVED, STOOD_STILL, standstill
from tests.support.patience import SOON
from utxod.own_daemon import DaemonError


def test_each_try_tells_the_longest_standstill_and_that_all_was_answered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.standstill.run._TIMEOUT", 30.0)  # longer than anything that is answered at last takes
    arguments = ["--rounds", "1", "--seconds", "0.5", "--json"]
    for name in ("calm", "many_frames", "sweep"):
        arguments += ["--only", name]
    result = CliRunner().invoke(COMMAND, arguments, catch_exceptions=False)
    found = json.loads(result.stdout.splitlines()[-1])
    print(result.output)
    # How long it is depends on what else runs here.
    assert found["promises"].keys() == {ANSWERED, IN_TIME, SERVED, STOOD_STILL}
    assert all(held for promise, held in found["promises"].items() if promise != STOOD_STILL)
    assert [figure["goal"] for figure in found["figures"]] == [None, 1.0, 1.0]
    assert all(figure["value"] > 0 for figure in found["figures"])


def test_a_daemon_that_does_not_live_to_tell_breaks_a_promise(monkeypatch: pytest.MonkeyPatch):
    def kill(around: Surroundings) -> None:
        around._daemon.process.kill()
        raise DaemonError("killed")

    monkeypatch.setattr(Surroundings, "sweep", kill)
    report = standstill(rounds=1, seconds=0.1, only=["sweep"])
    assert report.figures == []
    assert not report.promises[SERVED]


def test_each_surrounding_that_is_measured_can_be_imposed():
    assert set(NAMES) - {"calm"} <= vars(Surroundings).keys()


def test_a_log_that_nobody_reads_is_full_and_read_to_its_end_afterwards(tmp_path: Path):
    pipe = LogPipe(tmp_path / "log")
    os.write(pipe.writing, b"before\n")
    pipe.stop()
    os.set_blocking(pipe.writing, False)
    with pytest.raises(BlockingIOError):
        os.write(pipe.writing, b"meanwhile\n")
    pipe.go_on()
    os.set_blocking(pipe.writing, True)
    os.write(pipe.writing, b"after\n")
    os.close(pipe.writing)
    pipe.finish(SOON)
    lines = (tmp_path / "log").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "meanwhile" not in lines


def test_a_crowd_leaves_when_it_is_told_to(tmp_path: Path):
    settings = {"kind": STRANGERS, "endpoints": [f"ipc://{tmp_path / 'nobody'}"], "count": 2}
    command = [sys.executable, "-m", "tests.chaos.crowd", json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as crowd:
        crowd.communicate(timeout=60)
    assert crowd.returncode == 0
