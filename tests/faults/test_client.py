"""P2 on the client's side, per operation: no call outlasts its timeout and the grace, whatever became of the daemon.

A daemon that never was there, and answers that are nonsense, are in tests/protocol; a worker's nonsense is beside this.
"""

import signal
import time
from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest

from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT, SEVEN, Answer, Service, serving

TIMEOUT = 0.4
# Of what is to leave the client first.
SENT_TIMEOUT = 4.0


class Asked(NamedTuple):
    """seconds: from the question, or from what befell the daemon, to the answer. before, after: the record."""

    answer: Answer
    seconds: float
    before: Any
    after: Any


Seven = dict[str, Asked]


def ask_all(service: Service, txids: dict[str, bytes], timeout: float) -> dict[str, Future[Answer]]:
    return {operation: service.ask(operation, txid, timeout) for operation, txid in txids.items()}


def outcomes(service: Service, txids: dict[str, bytes], before: Any, asked: Any, since: float) -> Seven:
    return {
        operation: Asked(
            asked[operation].result(),
            asked[operation].result().at - since,
            before[operation],
            service.record(txids[operation]),
        )
        for operation in SEVEN
    }


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Seven:
    """Asked while the daemon stands still; looked at when it is on its feet again, and has read what lay in buffers."""
    with serving(tmp_path_factory.mktemp("stopped"), NOTHING_ENDS_IT, store_kind) as service:
        txids, before = prepare(service)
        with service.daemon.stopped():
            began = time.monotonic()
            asked = ask_all(service, txids, SENT_TIMEOUT)
            for future in asked.values():
                future.result()
        stale = service.daemon.wait_until(lambda status: status["counters"].get("refused STALE") == len(SEVEN))
        assert stale["pending"] == 0
        return outcomes(service, txids, before, asked, began)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Seven:
    """Pending when the daemon is killed."""
    with serving(tmp_path_factory.mktemp("killed"), NOTHING_ENDS_IT, store_kind) as service:
        txids, before = prepare(service)
        with service.daemon.faults.hang():
            asked = ask_all(service, txids, 60)
            service.daemon.wait_until(lambda status: status["pending"] == len(SEVEN))
            began = time.monotonic()
            service.daemon.kill()
            return outcomes(service, txids, before, asked, began)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Seven:
    """Asked when the daemon has ended, by a client that has known it."""
    with serving(tmp_path_factory.mktemp("ended"), NOTHING_ENDS_IT, store_kind) as service:
        txids, before = prepare(service)
        service.daemon.signal(signal.SIGTERM)
        assert service.daemon.process.wait(60) == 0
        unsent = "NO_ANSWER", "no"  # by now the client knows
        until(lambda: service.ask("get", service.fresh("get"), TIMEOUT).result().verdict == unsent)
        began = time.monotonic()
        return outcomes(service, txids, before, ask_all(service, txids, TIMEOUT), began)


def prepare(service: Service) -> tuple[dict[str, bytes], dict[str, Any]]:
    txids = {operation: service.fresh(operation) for operation in SEVEN}
    return txids, {operation: service.record(txid) for operation, txid in txids.items()}


@pytest.mark.parametrize("operation", SEVEN)
def test_a_daemon_that_is_stopped_holds_up_no_call_and_executes_none_of_them_later(
    stopped: Seven, operation: str
) -> None:
    asked = stopped[operation]
    assert asked.answer.verdict == ("NO_ANSWER", "unknown")
    assert asked.seconds < SOON
    assert asked.after == asked.before


@pytest.mark.parametrize("operation", SEVEN)
def test_a_daemon_that_is_killed_fails_what_was_pending_at_once(killed: Seven, operation: str) -> None:
    asked = killed[operation]
    assert asked.answer.verdict == ("NO_ANSWER", "unknown")
    assert asked.seconds < SOON


@pytest.mark.parametrize("operation", SEVEN)
def test_a_daemon_that_has_ended_holds_up_no_call(ended: Seven, operation: str) -> None:
    asked = ended[operation]
    assert asked.answer.verdict == ("NO_ANSWER", "no")
    assert asked.seconds < SOON
    assert asked.after == asked.before
