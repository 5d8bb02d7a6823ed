"""A process that is stopped, or killed, inside a write transaction of the embedded store: it alone is dealt with."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.waiters import HEIGHT, OUTPUTS
from protocol import Client, CreateItem, Outcome
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.daemon import End, until
from tests.support.seven_operations import NOTHING_ENDS_IT, SLACK, Service, serving

WRITERS = 4
CALLERS = 8
ITEMS = 100
# A stopped worker is noticed within that.
NOTICED = 1.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Service]:
    with serving(
        tmp_path_factory.mktemp("writers"), NOTHING_ENDS_IT | {"workers.write": WRITERS}, store_kind
    ) as service:
        yield service


class Load:
    """Callers that create, one batch after the other. answers: when, and the outcomes with their txids."""

    def __init__(self, client: Client) -> None:
        self.answers: list[tuple[float, list[bytes], list[Outcome]]] = []
        self._client = client
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._create) for _ in range(CALLERS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _create(self) -> None:
        while not self._enough.is_set():
            txids = [os.urandom(32) for _ in range(ITEMS)]
            outcomes = self._client.create_many(
                [CreateItem.partial(txid, OUTPUTS, block_height=HEIGHT) for txid in txids], timeout=30
            )
            self.answers.append((time.monotonic(), txids, outcomes))

    def answered_since(self, moment: float) -> float | None:
        """When the first went well that was answered then or later."""
        return next((at for at, _, outcomes in self.answers if at >= moment and all(o.ok for o in outcomes)), None)


def holder(lock: Path) -> int | None:
    """The process that holds the writers' lock just now, by the kernel's word."""
    inode = str(lock.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
            return int(fields[4])
    return None


def stop_a_holder(lock: Path) -> int:
    """Stops a worker, and finds that it holds the lock, and has said so there: whoever waits can say for whom."""

    def stopped() -> int | None:
        pid = holder(lock)
        if pid is None:
            return None
        os.kill(pid, signal.SIGSTOP)
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        if holder(lock) == pid and lock.read_bytes().split()[:1] == [b"%d" % pid]:
            return pid
        os.kill(pid, signal.SIGCONT)
        return None

    return until(stopped)


@EMBEDDED_ONLY
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_writer_that_stands_or_dies_with_the_lock_in_its_hands_is_ended_alone(
    service: Service, number: signal.Signals
) -> None:
    daemon = service.daemon
    lock = daemon.directory / "store" / "writer.lock"
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == WRITERS)
    workers = daemon.workers("write")
    with Load(service.client) as load:
        pid = stop_a_holder(lock)
        assert pid in workers
        end = End(pid)
        moment = time.monotonic()
        if number == signal.SIGKILL:
            os.kill(pid, number)
        assert end.wait(NOTICED + SLACK)
        gone = time.monotonic()
        served = until(lambda: load.answered_since(gone))
        print(f"{number.name}: gone after {gone - moment:.3f} s, the others served after {served - moment:.3f} s")
        assert served - moment < NOTICED + SLACK
        daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == WRITERS)
    assert set(workers) - set(daemon.workers("write")) == {pid}
    verdicts = {(o.code, o.error.executed if o.error else "") for _, _, outcomes in load.answers for o in outcomes}
    assert verdicts <= {("OK", ""), ("WORKER_CRASHED", "unknown")}
    acknowledged = [
        txid for _, txids, outcomes in load.answers for txid, o in zip(txids, outcomes, strict=True) if o.ok
    ]
    assert all(outcome.ok for outcome in service.client.get_many(acknowledged, ["txID"], timeout=30))
