"""P14: the in-doubt log outlives a disk that takes nothing for a while, and holds nobody up."""

import json
import os
from pathlib import Path

import pytest

from broker.actions import InDoubt
from broker.in_doubt_log import FILE_NAME, InDoubtLog
from tests.support.patience import SOON, until


def in_doubt(number: int) -> InDoubt:
    return InDoubt(number.to_bytes(32, "little"), "note_child", "a reason")


def numbers(file: Path) -> list[int]:
    return [int(json.loads(line)["txid"], 16) for line in file.read_text().splitlines()]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that waits longer for the disk, at its end, than a busy machine takes."""
    monkeypatch.setattr("broker.in_doubt_log._CLOSE_SECONDS", SOON)


@pytest.mark.usefixtures("patient")
def test_lines_that_could_not_be_written_are_written_when_the_disk_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    state.write_text("no directory")
    in_doubt_log = InDoubtLog(state, "null:")
    for number in range(3):
        in_doubt_log.add(in_doubt(number))
    until(lambda: "could not be written" in caplog.text)
    state.unlink()
    until((state / FILE_NAME).exists)
    in_doubt_log.add(in_doubt(3))
    in_doubt_log.close()
    assert numbers(state / FILE_NAME) == [0, 1, 2, 3]
    assert "lost" not in caplog.text


def test_what_waits_for_the_disk_is_bounded_and_what_is_lost_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    state.write_text("no directory")
    in_doubt_log = InDoubtLog(state, "null:", most_waiting=500)
    for number in range(10):
        in_doubt_log.add(in_doubt(number))
    assert "that is lost to" in caplog.text
    in_doubt_log.close()
    assert "3 lines are lost to" in caplog.text


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pipe that nobody opens for reading is such a disk."""
    os.mkfifo(tmp_path / FILE_NAME)
    in_doubt_log = InDoubtLog(tmp_path, "null:")
    in_doubt_log.add(in_doubt(0))
    in_doubt_log.add(in_doubt(1))
    in_doubt_log.close()
    assert "2 lines are lost to" in caplog.text


@pytest.mark.usefixtures("patient")
def test_a_line_that_broke_off_spoils_none_after_it(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text('{"store": "null:", "txid": "00')
    in_doubt_log = InDoubtLog(tmp_path, "null:")
    in_doubt_log.add(in_doubt(1))
    in_doubt_log.add(in_doubt(2))
    in_doubt_log.close()
    broken, *lines = file.read_text().splitlines()
    assert broken.startswith('{"store"')
    assert [int(json.loads(line)["txid"], 16) for line in lines] == [1, 2]
