"""P2: every answer is sent by its deadline plus a sweep, also where nothing moves."""

import time
from collections import Counter
from collections.abc import Callable

from protocol import wire
from tests.support.daemon import Raw, Start
from tests.support.patience import SOON
from tests.support.seven_operations import NOTHING_ENDS_IT

REQUESTS = 1000
WAIT_US = 4_000_000  # in which a busy machine's daemon takes in what it is sent
BODY = wire.pack_body([(b"\x01" * 32, True)])


def test_what_is_wedged_or_queued_is_answered_at_its_deadline(start: Start, raw: Callable[..., Raw]) -> None:
    daemon = start(NOTHING_ENDS_IT)
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    one = raw(daemon.endpoint)
    welcome = one.handshake()

    def ask() -> None:
        deadline = time.monotonic_ns() // 1000 + WAIT_US  # the daemon's clock is this host's
        deadlines[one.ask(wire.RequestHeader(welcome.epoch, "set_locked", deadline, 1, 0), BODY)] = deadline

    deadlines: dict[bytes, int] = {}
    ask()
    daemon.wait_until_in_flight(1)
    for _ in range(REQUESTS - 1):
        ask()
    late = []
    answers: Counter[tuple[str, str]] = Counter()
    for _ in range(REQUESTS):
        ((request_id, reply),) = one.replies(1).items()
        late.append((time.monotonic_ns() // 1000 - deadlines[request_id]) / 1000)
        assert reply.error is not None
        answers[reply.error.code, reply.error.executed] += 1
    print(f"after the deadline: median {sorted(late)[REQUESTS // 2]:.1f} ms, worst {max(late):.1f} ms")
    assert answers == {("DEADLINE_EXCEEDED", "unknown"): 1, ("DEADLINE_EXCEEDED", "no"): REQUESTS - 1}
    assert min(late) >= 0
    assert max(late) < SOON * 1000
    # The late answer of the worker is dropped, and counted.
    daemon.faults.clear()
    daemon.wait_until(lambda status: status["counters"].get("late") == 1)
    assert not one.socket.poll(0)
