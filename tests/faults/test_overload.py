"""P7, per operation: over its bound a queue refuses at once, does nothing of it, and keeps room for others."""

import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from broker.scheduling import POOL_OF_REQUEST
from tests.support.patience import SOON
from tests.support.seven_operations import NOTHING_ENDS_IT, SEVEN, Answer, Service, serving

ROOM = 4


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Service]:
    with serving(
        tmp_path_factory.mktemp("overload"), NOTHING_ENDS_IT | {"broker.queue_items": ROOM}, store_kind
    ) as service:
        yield service


@pytest.mark.parametrize("operation", SEVEN)
def test_a_full_queue_refuses_at_once_and_keeps_what_it_took(service: Service, operation: str) -> None:
    with service.daemon.faults.hang():
        taken = [service.hand_out(operation, service.fresh(operation))]
        # Half of the room is one submitter's at most.
        taken += [service.line_up(operation, service.fresh(operation)) for _ in range(ROOM // 2)]
        txid = service.fresh(operation)
        before = service.record(txid)
        asked = time.monotonic()
        refused = service.ask(operation, txid).result()
        assert refused.verdict == ("OVERLOADED", "no")
        assert refused.at - asked < SOON
        assert refused.error is not None
        assert refused.error.retry_after is not None
        with service.daemon.client() as other:
            neighbour = _line_up_for(service, other, operation)
            assert not any(future.done() for future in taken)
            service.daemon.faults.clear()
            assert neighbour.result().code == "OK"
    assert {future.result().code for future in taken} == {"OK"}
    assert service.record(txid) == before
    assert service.ask(operation, txid).result().code == "OK"


def _line_up_for(service: Service, client, operation: str) -> Future[Answer]:
    """Another submitter asks."""
    future = service.ask(operation, service.fresh(operation), client=client)
    pool = POOL_OF_REQUEST[operation]
    service.daemon.wait_until(lambda status: status["pools"][pool]["queued"] == ROOM // 2 + 1)
    return future
