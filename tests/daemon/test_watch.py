"""P5: also a worker that has not taken its first item is watched."""

import os
import signal
from pathlib import Path

from tests.support.daemon import Start
from tests.support.interpreter import Interpreter


def test_a_worker_that_is_stopped_before_it_is_ready_is_replaced(
    start: Start, interpreter: Interpreter, tmp_path: Path
) -> None:
    interpreter.hold_workers(tmp_path / "go")
    daemon = start(ready=False)
    (line,) = daemon.log.expect("started write worker", within=60)
    pid = int(line.rsplit(" ", 1)[1])
    os.kill(pid, signal.SIGSTOP)
    daemon.log.expect(f"write worker {pid} is stopped")
    daemon.log.expect(f"write worker {pid} is gone")
    (tmp_path / "go").touch()
    daemon.wait_for_workers()
    assert pid not in daemon.workers("write")
