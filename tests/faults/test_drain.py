"""P10, per operation: a daemon told to end finishes what it has, or says what became of it, and takes no more."""

import signal
from typing import Any, NamedTuple

import pytest

from tests.support.seven_operations import NOTHING_ENDS_IT, SEVEN, Answer, Service, serving

# A worker for each of the seven.
SETTINGS = NOTHING_ENDS_IT | {"workers.read": 2, "workers.write": 3, "workers.children": 2, "drain_seconds": 60}


class Drained(NamedTuple):
    """What became of one item of an operation: in a worker's hands and in the queue at the SIGTERM, and asked after it.
    before, after: the record of the one that waited."""

    held: Answer
    queued: Answer
    asked_after: Answer
    before: Any
    after: Any


def drain(service: Service, *, store_recovers: bool) -> dict[str, Drained]:
    daemon = service.daemon
    txids = {operation: service.fresh(operation) for operation in SEVEN}
    before = {operation: service.record(txid) for operation, txid in txids.items()}
    with service.daemon.faults.hang():
        held = {operation: service.hand_out(operation, service.fresh(operation)) for operation in SEVEN}
        queued = {operation: service.line_up(operation, txid) for operation, txid in txids.items()}
        daemon.signal(signal.SIGTERM)
        daemon.log.expect("SIGTERM: draining")
        late = {operation: service.ask(operation, service.fresh(operation)).result() for operation in SEVEN}
        if store_recovers:
            daemon.faults.clear()
        else:
            daemon.signal(signal.SIGTERM)  # the time is over
        assert daemon.process.wait(60) == 0
        daemon.log.close()
        daemon.expect_nothing_left()
    after = {operation: service.record(txid) for operation, txid in txids.items()}
    return {
        operation: Drained(
            held[operation].result(), queued[operation].result(), late[operation], before[operation], after[operation]
        )
        for operation in SEVEN
    }


@pytest.fixture(scope="module")
def in_time(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> dict[str, Drained]:
    with serving(tmp_path_factory.mktemp("drain"), SETTINGS, store_kind) as service:
        return drain(service, store_recovers=True)


@pytest.fixture(scope="module")
def out_of_time(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> dict[str, Drained]:
    with serving(tmp_path_factory.mktemp("ended"), SETTINGS, store_kind) as service:
        return drain(service, store_recovers=False)


@pytest.mark.parametrize("operation", SEVEN)
def test_a_drain_finishes_what_is_held_and_what_waits_and_takes_no_more(
    in_time: dict[str, Drained], operation: str
) -> None:
    drained = in_time[operation]
    assert (drained.held.code, drained.queued.code) == ("OK", "OK")
    assert drained.asked_after.verdict == ("SHUTTING_DOWN", "no")


@pytest.mark.parametrize("operation", SEVEN)
def test_a_drain_that_runs_out_of_time_says_what_was_not_executed_and_what_may_have_been(
    out_of_time: dict[str, Drained], operation: str
) -> None:
    drained = out_of_time[operation]
    assert drained.held.verdict == ("WORKER_CRASHED", "unknown")
    assert drained.queued.verdict == ("SHUTTING_DOWN", "no")
    assert drained.after == drained.before
    assert drained.asked_after.verdict == ("SHUTTING_DOWN", "no")
