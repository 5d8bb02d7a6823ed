"""P5 and P8, per operation: a worker that dies and a worker that is wedged take with them what they hold, no more."""

import time
from collections.abc import Iterator

import psutil
import pytest

from broker.scheduling import POOL_OF_REQUEST
from protocol.codes import WORKER_CRASHED
from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT, SEVEN, Service, is_read, of_another_pool, serving

BUDGET, GRACE, PROBE = 0.3, 0.1, 0.1
LIMIT = BUDGET + GRACE


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Service]:
    """One whose workers end for no other reason than that they are killed."""
    with serving(tmp_path_factory.mktemp("crash"), NOTHING_ENDS_IT, store_kind) as service:
        yield service


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Service]:
    """One whose workers are soon wedged."""
    limits = {"broker.budget_seconds": BUDGET, "broker.grace_seconds": GRACE, "broker.probe_seconds": PROBE}
    with serving(tmp_path_factory.mktemp("wedge"), limits, store_kind) as service:
        yield service


@pytest.mark.parametrize("operation", SEVEN)
def test_a_crash_answers_what_the_worker_held_and_harms_nothing_else(patient: Service, operation: str) -> None:
    pool, daemon = POOL_OF_REQUEST[operation], patient.daemon
    with patient.daemon.faults.hang():
        lost = patient.hand_out(operation, patient.fresh(operation))
        other = patient.hand_out(of_another_pool(operation), patient.fresh(of_another_pool(operation)))
        queued = patient.line_up(operation, patient.fresh(operation))
        again = daemon.counter("read_again")
        killed = patient.kill_worker(operation)
        if is_read(operation):  # reads are dispatched once more
            daemon.wait_until(
                lambda status: (
                    status["counters"].get("read_again") == again + 1 and status["pools"][pool]["in_flight"] == 1
                )
            )
            assert not lost.done()
            killed = patient.kill_worker(operation)
        answer = lost.result()
        assert answer.verdict == ("WORKER_CRASHED", "unknown")
        assert answer.at - killed < SOON
        assert not queued.done()
        assert not other.done()
    assert queued.result().code == "OK"
    assert other.result().code == "OK"


@pytest.mark.parametrize("operation", [operation for operation in SEVEN if is_read(operation)])
def test_a_read_that_loses_its_worker_is_answered_well_by_the_next(patient: Service, operation: str) -> None:
    again = patient.daemon.counter("read_again")
    with patient.daemon.faults.hang():
        read = patient.hand_out(operation, patient.fresh(operation))
        patient.kill_worker(operation)
        patient.daemon.wait_until(lambda status: status["counters"].get("read_again") == again + 1)
    assert read.result().code == "OK"


@pytest.mark.parametrize("operation", SEVEN)
def test_a_wedge_is_ended_at_the_execution_limit_and_the_rest_is_refused(strict: Service, operation: str) -> None:
    assert strict.serves(operation)
    daemon = strict.daemon
    lines = len(daemon.log.lines)
    with strict.daemon.faults.hang():
        # Before it was handed out, not after: a limit has begun when its item is seen in flight.
        began = time.monotonic()
        lost = strict.hand_out(operation, strict.fresh(operation))
        handed_out = time.monotonic()
        txid = strict.fresh(operation)
        before = strict.record(txid)
        # It waits behind the other. Where it comes much later it is a probe, is lost as such, and is asked again.
        refused = until(lambda: told if (told := strict.ask(operation, txid).result()).code != WORKER_CRASHED else None)
        assert refused.verdict == ("UNAVAILABLE", "no")
        assert strict.record(txid) == before
        assert began + LIMIT < refused.at < handed_out + SOON
        answer = lost.result()
        assert answer.verdict == ("WORKER_CRASHED", "unknown")
        if not is_read(operation):  # these come back as a probe, and are lost a second time
            assert answer.at < handed_out + SOON
    assert strict.serves(operation)
    for said in (f"has been busy with {operation} for too long; it dumps its stacks and is ended", "in batch_operate"):
        daemon.log.expect(said, after=lines)
    assert daemon.status()["pools"][POOL_OF_REQUEST[operation]]["breaker"] == "closed"


def test_large_answers_leave_nothing_in_a_worker(patient: Service) -> None:
    def held() -> list[int]:
        (pid,) = patient.daemon.workers("read")
        return [(worker := psutil.Process(pid)).num_threads(), worker.num_fds()]

    script = bytes(200_000)
    patient.client.create_partial(b"\xff" * 32, {0: (1, script)}, block_height=1)
    assert patient.serves("outpoint")
    before = held()
    assert patient.client.outpoint(b"\xff" * 32, 0).locking_script == script
    until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
