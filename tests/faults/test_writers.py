"""A process that is stopped, or killed, inside a write transaction of the embedded store: it alone is dealt with."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.daemon import End
from tests.support.load import Load
from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT, Service, serving

WRITERS = 4
CALLERS = 8
ITEMS = 100


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Service]:
    with serving(
        tmp_path_factory.mktemp("writers"), NOTHING_ENDS_IT | {"workers.write": WRITERS}, store_kind
    ) as service:
        yield service


def answered_since(load: Load, moment: float) -> float | None:
    """When the first went well that was answered then or later."""
    return next((each.at for each in load.answers if each.at >= moment and all(o.ok for o in each.outcomes)), None)


def holder(lock: Path) -> int | None:
    """The process that holds the writers' lock just now, by the kernel's word."""
    inode = str(lock.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
            return int(fields[4])
    return None


def stop_a_holder(lock: Path) -> tuple[int, set[int]]:
    """Stops a worker, and finds that it holds the lock, and has said so there: whoever waits can say for whom. Gives
    it, and all that were stopped until then: on a busy machine one may stand so long that the daemon ends it."""
    all_stopped: set[int] = set()

    def stopped() -> int | None:
        pid = holder(lock)
        if pid is None:
            return None
        all_stopped.add(pid)
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it was ended
            os.kill(pid, signal.SIGSTOP)
            until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ")
            if holder(lock) == pid and lock.read_bytes().split()[:1] == [b"%d" % pid]:
                return pid
            os.kill(pid, signal.SIGCONT)
        return None

    return until(stopped), all_stopped


@EMBEDDED_ONLY
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_writer_that_stands_or_dies_with_the_lock_in_its_hands_is_ended_alone(
    service: Service, number: signal.Signals
) -> None:
    daemon = service.daemon
    lock = daemon.directory / "store" / "writer.lock"
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == WRITERS, within=60)
    workers = daemon.workers("write")
    with service.daemon.client() as client, Load(client, CALLERS, ITEMS) as load:
        pid, all_stopped = stop_a_holder(lock)
        end = End(pid)
        moment = time.monotonic()
        if number == signal.SIGKILL:
            os.kill(pid, number)
        assert end.wait(SOON)
        gone = time.monotonic()
        served = until(lambda: answered_since(load, gone))
        print(f"{number.name}: gone after {gone - moment:.3f} s, the others served after {served - moment:.3f} s")
        assert served - moment < SOON
        daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == WRITERS, within=60)
    now = set(daemon.workers("write"))
    assert pid not in now
    assert set(workers) - now <= all_stopped
    verdicts = {(o.code, o.error.executed if o.error else "") for each in load.answers for o in each.outcomes}
    assert verdicts <= {("OK", ""), ("WORKER_CRASHED", "unknown")}
    assert all(outcome.ok for outcome in service.client.get_many(load.created, ["txID"], timeout=30))
