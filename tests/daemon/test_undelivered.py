"""P1: an answer that can't be delivered is counted as such, and blocks nobody."""

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from protocol import wire
from tests.support.daemon import Daemon, Raw, Start
from tests.support.patience import until
from tests.support.seven_operations import NOTHING_ENDS_IT

SECOND = 1_000_000
ANSWERS = 20_000
ROUNDS, FEW = 8, 10
BODY = wire.pack_body([(bytes(32), None)])
OpenRaw = Callable[..., Raw]


def test_a_submitter_that_does_not_read_loses_no_answer_silently_and_holds_up_nobody(
    daemon: Daemon, raw: OpenRaw
) -> None:
    deaf = raw(daemon.endpoint, receive_limit=1)
    welcome = deaf.handshake()

    def ask_deafly(times: int) -> None:
        for _ in range(times):
            deaf.ask(wire.RequestHeader(welcome.epoch, "get", welcome.clock + 600 * SECOND, 1, 0), BODY)

    ask_all = threading.Thread(target=ask_deafly, args=(ANSWERS,))
    own = 1
    delays: list[float] = []
    with daemon.client() as client:
        client.create_partial(b"\x01" * 32, {0: (1, b"\x51")}, block_height=1)
        ask_all.start()
        counters: dict[str, int] = {}
        while counters.get("answered", 0) < ANSWERS + own:
            client.get(b"\x01" * 32)
            own += 1
            counters = client.status()["counters"]
        ask_all.join()
        for _ in range(ROUNDS):  # none of which the other's answers have room for
            ask_deafly(FEW)
            asked = time.monotonic()
            client.get(b"\x01" * 32)
            delays.append((time.monotonic() - asked) * 1000)
        own += ROUNDS
        until(lambda: client.status()["counters"]["answered"] == ANSWERS + ROUNDS * FEW + own)
        undeliverable = client.status()["counters"]["undeliverable"]
    delivered = len(deaf.replies(ANSWERS + ROUNDS * FEW - undeliverable))
    assert delivered + undeliverable == ANSWERS + ROUNDS * FEW
    assert undeliverable > 0
    assert not deaf.socket.poll(50)
    median = statistics.median(delays)
    print(f"{undeliverable} undeliverable; meanwhile {own} calls of another, the last {median:.1f} ms")
    assert median < 500  # who gets no processor is late with one of them


def sockets_of(daemon: Daemon) -> set[str]:
    """Those that the daemon has open, each by its name in the kernel."""
    found = set()
    for descriptor in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            found.add(os.readlink(descriptor))
    return {name for name in found if name.startswith("socket:")}


def test_the_answers_to_a_submitter_that_has_gone_are_counted(start: Start, raw: OpenRaw) -> None:
    daemon = start(NOTHING_ENDS_IT)
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    known = sockets_of(daemon)
    submitter = raw(daemon.endpoint)
    welcome = submitter.handshake()
    its_own = sockets_of(daemon) - known
    assert its_own
    for _ in range(100):
        submitter.ask(wire.RequestHeader(welcome.epoch, "get", welcome.clock + 600 * SECOND, 1, 0), BODY)
    daemon.wait_until(lambda status: status["pending"] == 100)
    submitter.close()
    until(lambda: not its_own & sockets_of(daemon))
    for _ in range(5):
        daemon.status()  # ZeroMQ's thread and the daemon's tell each other of its end, in order with these
    daemon.faults.clear()
    daemon.wait_until(lambda status: status["pending"] == 0)
    # A report that is asked for in the same turn as the answers may be given between two of them.
    assert daemon.status()["counters"]["undeliverable"] == 100
