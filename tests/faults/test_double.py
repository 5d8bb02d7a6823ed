"""P1, per operation: of a worker that answers twice, or with nonsense, one answer at most reaches the submitter.

The worker here is the test itself, with a duplicate of the link of one that hangs in its store.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.scheduling import POOL_OF_REQUEST
from protocol import wire
from protocol.worker_wire import DONE, DispatchMessage, pack_done, unpack_from_broker
from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT, SEVEN, Answer, Service, serving
from tests.support.worker_side import link_of

RESULTS = {
    "get": {"totalUtxos": 2},
    "spend": True,
    "create": {"totalUtxos": 2, "records": 2},
    "set_locked": 1,
    "outpoint": [1000, b"\x51"],
    "increment": [None, 1],
    "set_dah": True,
}


class OwnWorker:
    """A worker that does what the test says: it speaks for a worker that hangs in its store, and reads in its place."""

    def __init__(self, pid: int) -> None:
        self._link = link_of(pid)

    def take(self) -> int:
        """The number of the next dispatch, of one item."""
        [frames] = self._link.receive()
        dispatch = unpack_from_broker(frames)
        assert isinstance(dispatch, DispatchMessage)
        assert len(dispatch.bodies) == 1
        return dispatch.number

    def answer(self, number: int, body: bytes) -> None:
        self._link.send([DONE, pack_done(number, ()), wire.ok_header(1), body])

    def close(self) -> None:
        self._link.close()


class Staffed:
    """A service whose work comes to the test."""

    def __init__(self, service: Service, workers: dict[str, OwnWorker]) -> None:
        self.service = service
        self._workers = workers

    def worker(self, operation: str) -> OwnWorker:
        return self._workers[POOL_OF_REQUEST[operation]]

    @property
    def dropped_by_client(self) -> tuple[int, int]:
        return self.service.client.counters.late, self.service.client.counters.unknown

    def wait_for_late(self, count: int) -> None:
        self.service.daemon.wait_until(lambda status: status["counters"].get("late", 0) == count)


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Staffed]:
    directory: Path = tmp_path_factory.mktemp("double")
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(serving(directory, NOTHING_ENDS_IT, store_kind))
        stack.enter_context(service.daemon.faults.hang())
        workers: dict[str, OwnWorker] = {}
        for operation in ("get", "create", "set_dah"):
            number = service.daemon.counter("dispatches") + 1
            held = service.hand_out(operation, service.fresh(operation))
            pool = POOL_OF_REQUEST[operation]
            (pid,) = service.daemon.workers(pool)
            worker = workers[pool] = OwnWorker(pid)
            stack.callback(worker.close)
            worker.answer(number, wire.pack_body([RESULTS[operation]]))
            assert held.result().code == "OK"
        yield Staffed(service, workers)


@pytest.mark.parametrize("operation", SEVEN)
def test_a_second_answer_is_dropped_and_counted_and_is_nobody_elses(staffed: Staffed, operation: str) -> None:
    service, worker = staffed.service, staffed.worker(operation)
    late, dropped = service.daemon.counter("late"), staffed.dropped_by_client
    body = wire.pack_body([RESULTS[operation]])
    first = service.ask(operation, service.fresh(operation))
    number = worker.take()
    worker.answer(number, body)
    worker.answer(number, body)
    assert first.result().code == "OK"
    staffed.wait_for_late(late + 1)

    second = service.ask(operation, service.fresh(operation))
    next_number = worker.take()
    worker.answer(number, body)  # once more, while it holds another's item
    staffed.wait_for_late(late + 2)
    assert not second.done()
    worker.answer(next_number, body)
    assert second.result().code == "OK"
    assert staffed.dropped_by_client == dropped


@pytest.mark.parametrize("operation", SEVEN)
def test_a_result_that_is_nonsense_fails_its_caller_in_time_and_nobody_else(staffed: Staffed, operation: str) -> None:
    service, worker = staffed.service, staffed.worker(operation)

    def answered_with_nonsense() -> Answer | None:
        asked = service.hand_out(operation, service.fresh(operation), timeout=0.3)
        worker.answer(worker.take(), b"\xc1")
        told = asked.result(SOON)
        return None if told.code == "DEADLINE_EXCEEDED" else told  # on a busy machine that comes first

    assert until(answered_with_nonsense).verdict == ("NO_ANSWER", "unknown")
    good = service.ask(operation, service.fresh(operation))
    worker.answer(worker.take(), wire.pack_body([RESULTS[operation]]))
    assert good.result().code == "OK"
