"""P4: once answered, never executed; however long a request lay in a buffer. And a submitter that does not read."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from protocol import CreateItem, NoAnswer, TxNotFound, wire
from store import Read, Status
from store.layout import record_key
from tests.support.client_calls import has_sent
from tests.support.daemon import Daemon, Raw, Start
from tests.support.patience import SOON, until

SECOND = 1_000_000
OpenRaw = Callable[..., Raw]


def creation(number: int, script: bytes = b"\x51") -> tuple[bytes, bytes]:
    """A txid, and the body of a request that creates it."""
    txid = number.to_bytes(32, "big")
    return txid, wire.pack_body([CreateItem.partial(txid, {0: (1, script)}, block_height=1)])


def statuses_in_store(daemon: Daemon, txids: list[bytes]) -> Counter[Status]:
    with daemon.store() as store:
        return Counter(
            result.status for result in store.batch_operate([Read(record_key(txid, 0)) for txid in txids], 30)
        )


def test_what_lay_in_a_buffer_past_its_deadline_is_answered_stale_and_never_executed(
    daemon: Daemon, raw: OpenRaw
) -> None:
    submitter = raw(daemon.endpoint)
    welcome = submitter.handshake()
    txids = []
    with daemon.client() as client:
        client.status()
        with daemon.stopped():
            for number in range(500):
                txid, body = creation(number)
                submitter.ask(wire.RequestHeader(welcome.epoch, "create", welcome.clock + SECOND // 5, 1, 0), body)
                txids.append(txid)
            own = (1000).to_bytes(32, "big")
            # Its end is later than the others' deadline; and until then it is sent, however busy the machine is.
            with pytest.raises(NoAnswer) as caught:
                client.create_partial(own, {0: (1, b"\x51")}, block_height=1, timeout=5)
        assert caught.value.executed == "unknown"
        replies = submitter.replies(500)
        assert {(reply.error.code, reply.error.executed) for reply in replies.values() if reply.error} == {
            ("STALE", "no")
        }
        assert len(replies) == 500
        with pytest.raises(TxNotFound):
            client.get(own)
        assert client.counters.late == 1
    assert statuses_in_store(daemon, txids) == {Status.NOT_FOUND: 500}
    assert daemon.counter("refused STALE") == 501


def test_what_lay_in_a_buffer_over_a_restart_is_refused_by_the_next_daemon(start: Start, raw: OpenRaw) -> None:
    first = start()
    submitter = raw(first.endpoint)
    welcome = submitter.handshake()
    later = welcome.clock + 600 * SECOND
    txids = []

    def ask(number: int) -> None:
        txid, body = creation(number, bytes(10_000))
        submitter.ask(wire.RequestHeader(welcome.epoch, "create", later, 1, 0), body)
        txids.append(txid)

    with first.stopped():
        for number in range(1000):  # more than the kernel's buffers take: the rest waits in the submitter
            ask(number)
        first.kill()
    for number in range(1000, 1200):  # while nobody is there
        ask(number)
    second = start()
    # What the first one's connection had taken is lost with it; the last is among those that are not.
    codes: Counter[tuple[str, str]] = Counter()
    while (reply := submitter.replies(1)) and (1201).to_bytes(16, "little") not in reply:
        codes.update((each.error.code, each.error.executed) for each in reply.values() if each.error)
    assert set(codes) == {("STALE", "no")}
    assert codes.total() >= 199
    assert statuses_in_store(second, txids) == {Status.NOT_FOUND: 1200}
    assert second.counter("admitted") == 0
    print(f"{codes.total() + 1} of 1200 requests reached the second daemon")


def test_a_client_over_a_restart_is_told_at_once_and_then_served(start: Start) -> None:
    first = start()
    with first.client() as client:
        client.status()
        outcome: list[float] = []

        def ask() -> None:
            with pytest.raises(NoAnswer, match="connection") as caught:
                client.create_partial(b"\x01" * 32, {0: (1, b"\x51")}, block_height=1)
            assert caught.value.executed == "unknown"
            outcome.append(time.monotonic())

        thread = threading.Thread(target=ask)
        with first.stopped():
            thread.start()
            until(lambda: has_sent(client, 2))
            killed = time.monotonic()
            first.kill()
        thread.join()
        assert outcome[0] - killed < SOON
        second = start()
        with pytest.raises(TxNotFound):
            client.get(b"\x01" * 32)
        assert client.counters.epochs == 2
    assert second.counter("refused STALE") == 0
