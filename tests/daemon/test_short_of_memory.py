"""P14: where the kernel must end a process for want of memory, a worker goes before the daemon, which owes the answers.

Each raises its own oom_score_adj at its start, as anybody may; nobody lowers one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.daemon import ROOT, Daemon

pytestmark = EMBEDDED_ONLY


def score(pid: int | str) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_every_worker_goes_before_the_daemon_and_the_daemon_goes_as_it_was_told(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    own = score("self")
    assert score(daemon.process.pid) == own
    assert {score(process["pid"]) for process in daemon.status()["processes"]} == {min(1000, own + 500)}


BEGIN = """
import os
from pathlib import Path
from workers.child import WORKER_GOES_BEFORE, begin
score = Path("/proc/self/oom_score_adj")
before = max({before}, int(score.read_text()))
score.write_text(str(before))
begin(os.getppid(), WORKER_GOES_BEFORE)
print(before, score.read_text())
"""


@pytest.mark.usefixtures("store_kind")
@pytest.mark.parametrize("at_least", [0, 600, 1000])
def test_a_score_is_raised_from_where_it_was_and_no_further_than_it_goes(at_least: int) -> None:
    command = [sys.executable, "-c", BEGIN.format(before=at_least)]
    before, after = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert int(after) == min(1000, int(before) + 500)
