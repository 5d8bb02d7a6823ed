"""P1, per operation: of a worker that answers twice, or with nonsense, one answer at most reaches the submitter.

The worker here is the test itself, at the daemon's address for workers; the daemon's own ones are kept busy.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from broker.scheduling import POOL_OF_REQUEST, POOLS
from protocol import wire
from protocol.worker_wire import DONE, DispatchMessage, pack_done, pack_ready, unpack_from_broker
from tests.support.seven_operations import NOTHING_ENDS_IT, SEVEN, SLACK, Service, serving

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
    """A worker that does what the test says."""

    def __init__(self, address: str, pool: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.routing_id = os.urandom(8)
        self._socket.connect(address)
        self._socket.send_multipart(pack_ready(pool, os.getpid()))

    def take(self) -> int:
        """The number of the next dispatch, of one item."""
        assert self._socket.poll(10_000), "no work came"
        dispatch = unpack_from_broker(self._socket.recv_multipart())
        assert isinstance(dispatch, DispatchMessage)
        assert len(dispatch.bodies) == 1
        return dispatch.number

    def answer(self, number: int, body: bytes) -> None:
        self._socket.send_multipart([DONE, pack_done(number, ()), wire.ok_header(1), body])

    def close(self) -> None:
        self._context.destroy(linger=0)


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
    address = f"ipc://{directory / 'w.sock'}"
    with (
        serving(directory, NOTHING_ENDS_IT | {"listen_workers": address}, store_kind) as service,
        contextlib.ExitStack() as stack,
    ):
        with service.daemon.faults.hang():
            kept = [service.hand_out(operation, service.fresh(operation)) for operation in ("get", "create", "set_dah")]
            workers = {pool: OwnWorker(address, pool) for pool in POOLS}
            for worker in workers.values():
                stack.callback(worker.close)
            service.daemon.wait_for_workers(2)
            yield Staffed(service, workers)
        assert {future.result().code for future in kept} == {"OK"}


@pytest.mark.parametrize("operation", SEVEN)
def test_a_second_answer_is_dropped_and_counted_and_is_nobody_elses(staffed: Staffed, operation: str) -> None:
    service, worker = staffed.service, staffed.worker(operation)
    late = service.daemon.counter("late")
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
    assert staffed.dropped_by_client == (0, 0)


@pytest.mark.parametrize("operation", SEVEN)
def test_a_result_that_is_nonsense_fails_its_caller_in_time_and_nobody_else(staffed: Staffed, operation: str) -> None:
    service, worker = staffed.service, staffed.worker(operation)
    nonsense = service.ask(operation, service.fresh(operation), timeout=0.3)
    worker.answer(worker.take(), b"\xc1")
    answer = nonsense.result(0.3 + SLACK + 0.3)
    assert answer.verdict == ("NO_ANSWER", "unknown")
    good = service.ask(operation, service.fresh(operation))
    worker.answer(worker.take(), wire.pack_body([RESULTS[operation]]))
    assert good.result().code == "OK"
