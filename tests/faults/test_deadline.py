"""P2 and P4, per operation: a deadline is kept wherever it falls, and says whether anything may have happened."""

from collections.abc import Iterator

import pytest

from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT, SEVEN, Answer, Service, serving

TIMEOUT = 0.25


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("deadline"), NOTHING_ENDS_IT, store_kind, grace=SOON) as service:
        yield service


def answer_of_one_in_time(service: Service, operation: str, txid: bytes) -> Answer:
    """Asked again where a busy machine has kept the question from the daemon until its time was over."""

    def answer() -> Answer | None:
        told = service.ask(operation, txid, TIMEOUT).result()
        return None if told.verdict in (("STALE", "no"), ("NO_ANSWER", "no")) else told

    in_time: Answer = until(answer)
    return in_time


@pytest.mark.parametrize("operation", SEVEN)
def test_what_expires_in_the_queue_is_not_executed_and_never_will_be(service: Service, operation: str) -> None:
    txid = service.fresh(operation)
    before = service.record(txid)
    with service.daemon.faults.hang():
        held = service.hand_out(operation, service.fresh(operation))
        assert answer_of_one_in_time(service, operation, txid).verdict == ("DEADLINE_EXCEEDED", "no")
    assert held.result().code == "OK"
    # Behind it in the queue: had it still been there, it would have been executed by now.
    assert service.serves(operation)
    assert service.record(txid) == before


@pytest.mark.parametrize("operation", SEVEN)
def test_what_expires_in_execution_is_unknown_and_its_neighbour_is_unharmed(service: Service, operation: str) -> None:
    with service.daemon.faults.hang():
        expiring = service.hand_out(operation, service.fresh(operation), TIMEOUT)
        queued = service.line_up(operation, service.fresh(operation))
        assert expiring.result().verdict == ("DEADLINE_EXCEEDED", "unknown")
        assert not queued.done()
    assert queued.result().code == "OK"


@pytest.mark.parametrize("operation", SEVEN)
def test_a_late_answer_is_dropped_and_counted(service: Service, operation: str) -> None:
    late = service.daemon.counter("late")
    txid = service.fresh(operation)
    with service.daemon.faults.hang():
        expiring = service.hand_out(operation, txid, TIMEOUT)
        assert expiring.result().verdict == ("DEADLINE_EXCEEDED", "unknown")
    service.daemon.wait_until(lambda status: status["counters"].get("late", 0) == late + 1)
    assert (service.client.counters.late, service.client.counters.unknown) == (0, 0)
    assert service.serves(operation)
    # What was unknown can be asked again.
    again = service.ask(operation, txid).result()
    assert again.code in ("OK", {"create": "TX_EXISTS", "increment": "INVALID_PARAMETER"}.get(operation))
