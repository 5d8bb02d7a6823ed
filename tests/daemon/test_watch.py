"""P5: also a worker that has not taken its first item is watched."""

import os
import signal

from tests.support.daemon import Start


def test_a_worker_that_is_stopped_before_it_is_ready_is_replaced(start: Start) -> None:
    daemon = start(ready=False)
    (line,) = daemon.log.expect("started write worker")
    pid = int(line.rsplit(" ", 1)[1])
    os.kill(pid, signal.SIGSTOP)
    daemon.log.expect(f"write worker {pid} is stopped")
    daemon.log.expect(f"write worker {pid} is gone")
    daemon.wait_for_workers()
    assert pid not in daemon.workers("write")
