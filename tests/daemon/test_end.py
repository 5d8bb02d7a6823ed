"""P10 and P11: a drain finishes what it can, and whatever way a daemon ends, nothing of it is left."""

import json
import signal
import threading
from collections import Counter

import msgpack

from protocol import Client, CreateItem, Spend
from store import Read, Status
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import Callers, txid
from tests.support.daemon import Daemon, End, Start, until


def test_what_is_in_flight_at_a_sigterm_is_finished_and_nothing_is_accepted_after(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        first = callers.create(0)
        daemon.wait_until_in_flight(1)
        pending = [callers.create(number) for number in range(1, 50)]
        daemon.wait_until(lambda status: status["pools"]["write"]["queued"] == 49)
        daemon.signal(signal.SIGTERM)
        daemon.log.expect(r"SIGTERM: draining \d+ pending requests")
        assert callers.create(99).result()[:2] == ("SHUTTING_DOWN", "no")
        assert daemon.status()["draining"] is True
        daemon.faults.clear()
        assert Counter(future.result()[0] for future in [first, *pending]) == {"OK": 50}
        assert daemon.process.wait(5) == 0
        assert callers.get(1, timeout=0.2).result()[0] == "NO_ANSWER"
    daemon.log.close()
    daemon.expect_nothing_left()


def test_what_is_not_done_when_the_time_to_drain_is_over_is_answered_with_the_truth(start: Start) -> None:
    daemon = start({"drain_seconds": 0.2})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        held = callers.create(0)
        daemon.wait_until_in_flight(1)
        queued = callers.create(1)
        daemon.wait_until(lambda status: status["pools"]["write"]["queued"] == 1)
        daemon.signal(signal.SIGTERM)
        assert held.result()[:2] == ("WORKER_CRASHED", "unknown")
        assert queued.result()[:2] == ("SHUTTING_DOWN", "no")
        assert daemon.process.wait(1.5) == 0
    daemon.log.close()
    daemon.expect_nothing_left()
    with daemon.store() as store:
        assert store.batch_operate([Read(txid(1))], 1)[0].status is Status.NOT_FOUND


def test_what_a_spend_may_have_led_to_is_in_doubt_where_the_time_to_drain_ends_it(start: Start) -> None:
    daemon = start({"drain_seconds": 0.2})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client:
        spending = threading.Thread(target=client.spend_many, args=([Spend(txid(0), 0, txid(1), txid(2), 0, 1)],))
        spending.start()
        daemon.wait_until_in_flight(1)
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(5) == 0
        spending.join()
    (line,) = (daemon.directory / "state" / "in-doubt.jsonl").read_text().splitlines()
    doubt = json.loads(line)
    assert doubt["operation"] == "spend"
    assert msgpack.unpackb(bytes.fromhex(doubt["request"]))[0][0] == txid(0)


def test_a_second_signal_ends_a_drain_at_once(start: Start) -> None:
    daemon = start({"drain_seconds": 60})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        held = callers.create(0)
        daemon.wait_until_in_flight(1)
        daemon.signal(signal.SIGINT)
        daemon.log.expect("SIGINT: draining")
        daemon.signal(signal.SIGINT)
        assert held.result()[:2] == ("WORKER_CRASHED", "unknown")
        assert daemon.process.wait(5) == 0
    daemon.log.close()
    daemon.expect_nothing_left()


def creation(txid: bytes) -> CreateItem:
    return CreateItem.partial(txid, {0: (1, b"\x51")}, block_height=1)


class Load:
    """Callers that create one transaction after the other until they are told to stop, or lose their daemon."""

    def __init__(self, client: Client, threads: int = 8) -> None:
        self.codes: Counter[str] = Counter()
        self._client = client
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        until(lambda: self.codes["OK"] > 50)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, thread: int) -> None:
        number = thread << 32
        while not self._stop.is_set():
            number += 1
            (outcome,) = self._client.create_many([creation(txid(number))])
            self.codes[outcome.code] += 1
            if outcome.code in ("SHUTTING_DOWN", "NO_ANSWER"):
                return


def test_a_drain_under_load_answers_all_that_it_took(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    with daemon.client(timeout=1) as client, Load(client) as load:
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(5) == 0
    assert set(load.codes) <= {"OK", "SHUTTING_DOWN", "NO_ANSWER"}
    assert load.codes["SHUTTING_DOWN"] + load.codes["NO_ANSWER"] == 8
    print(dict(load.codes))
    daemon.log.close()
    daemon.expect_nothing_left()
    with daemon.store() as store:
        numbers = [(thread << 32) + number for thread in range(8) for number in range(1, load.codes["OK"] + 10)]
        found = [result.status for result in store.batch_operate([Read(txid(n)) for n in numbers], 5)]
    assert load.codes["OK"] <= found.count(Status.OK) <= load.codes["OK"] + load.codes["NO_ANSWER"]


def test_after_a_kill_no_worker_is_left_and_the_next_daemon_serves_the_same_store(start: Start) -> None:
    daemon = start()
    daemon.wait_for_workers()
    ends = [End(process["pid"]) for process in daemon.status()["processes"]]
    assert len(ends) == 3
    # What was not sent when the daemon went waits for the next one, for as long as its caller does.
    with daemon.client(timeout=1) as client, Load(client) as load:
        daemon.kill()
        assert all(end.wait(2) for end in ends)
    assert set(load.codes) == {"OK", "NO_ANSWER"}
    assert load.codes["NO_ANSWER"] == 8
    daemon.log.close()
    following = start()
    with following.client() as client:
        assert client.get(txid((7 << 32) + 1))["totalUtxos"] == 1
    following.end()


def test_a_stopped_worker_does_not_outlive_a_killed_daemon(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (worker,) = daemon.workers("write")
    end = End(worker)
    signal.pidfd_send_signal(end.descriptor, signal.SIGSTOP)
    daemon.kill()
    assert end.wait(2)


def test_sigttin_and_sigttou_add_and_remove_a_worker_that_writes(daemon: Daemon) -> None:
    daemon.wait_for_workers()

    def expect(count: int) -> None:
        daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == count == len(daemon.workers("write")))

    with daemon.client() as client, Load(client) as load:
        daemon.signal(signal.SIGTTIN)
        expect(2)
        daemon.signal(signal.SIGTTOU)
        expect(1)
        daemon.signal(signal.SIGTTOU)  # the last one stays
        daemon.log.expect("write workers: 1", count=2)
        expect(1)
    assert set(load.codes) == {"OK"}


def test_sighup_replaces_all_workers_without_a_failed_item(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    before = {process["pid"] for process in daemon.status()["processes"]}
    with daemon.client() as client, Load(client) as load:
        daemon.signal(signal.SIGHUP)
        daemon.wait_until(lambda status: not before & {process["pid"] for process in status["processes"]})
        after = daemon.wait_until(lambda status: len(status["processes"]) == 3)
    assert set(load.codes) == {"OK"}
    assert sorted(process["pool"] for process in after["processes"]) == ["children", "read", "write"]


def test_a_second_sighup_in_the_middle_of_the_first_leaves_no_worker_too_many(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    daemon.signal(signal.SIGHUP)
    daemon.log.expect("started", count=5)
    daemon.signal(signal.SIGHUP)
    daemon.log.expect("replacing all workers", count=2)
    daemon.log.expect("started", count=8)
    daemon.wait_until(lambda status: len(status["processes"]) == 3)
    assert [pool["workers"] for pool in daemon.wait_for_workers()["pools"].values()] == [1, 1, 1]


@EMBEDDED_ONLY
def test_sighup_keeps_a_worker_whose_replacement_cannot_start(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    before = {process["pid"] for process in daemon.status()["processes"]}
    store, aside = daemon.directory / "store", daemon.directory / "aside"
    store.rename(aside)
    store.write_text("no directory")
    daemon.signal(signal.SIGHUP)
    daemon.log.expect("could not be replaced", count=3)
    assert {process["pid"] for process in daemon.status()["processes"]} == before
    with daemon.client() as client:
        assert client.create_partial(txid(1), {0: (1, b"\x51")}, block_height=1)["records"] == 1
