"""Tests are run while their processes are stopped now and then."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stops import freezers, own_cgroup
from tests.support.patience import until

ONE_CHILD = """
import subprocess, sys

def test_a_child_ends():
    assert subprocess.run([sys.executable, "-c", "pass"]).returncode == 0
"""


@pytest.fixture(autouse=True)
def _may_be_stopped() -> None:
    try:
        with freezers(1):
            pass
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")


def test_who_is_held_stands_still_and_goes_on_when_let_go() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat, freezers(1) as (freezer,):
        assert cat.stdin is not None
        assert cat.stdout is not None
        assert freezer.hold(cat.pid, 1.0)
        events = next(own_cgroup().glob(f"stops-{os.getpid()}-*/cgroup.events"))
        until(lambda: "frozen 1" in events.read_text())
        cat.stdin.write(b"x")
        cat.stdin.flush()
        freezer.let_go()
        assert (freezer.until, cat.stdout.read(1)) == (0.0, b"x")
        cat.stdin.close()


def test_who_is_gone_can_not_be_held() -> None:
    with subprocess.Popen(["true"]) as gone, freezers(1) as (freezer,):
        gone.wait()
        assert not freezer.hold(gone.pid, 1.0)


def test_a_run_of_tests_has_stops_and_ends_as_they_do(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(ONE_CHILD)
    stops = [sys.executable, "-m", "tests.stops", "--chance", "0.5", "--longest", "0.05"]
    command = [*stops, "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    said = re.search(r"^(\d+) stops$", done.stdout, re.MULTILINE)
    assert said is not None
    assert int(said[1]) > 0
