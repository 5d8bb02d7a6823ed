"""P10 and P11: a drain finishes what it can, and whatever way a daemon ends, nothing of it is left."""

import asyncio
import json
import signal
import threading
from collections import Counter
from typing import Any

import msgpack

from protocol import AsyncClient, Spend
from store import Read, Status
from tests.support.callers import HEIGHT, OUTPUT, Callers, txid
from tests.support.daemon import START_SECONDS, Daemon, End, Start, started
from tests.support.interpreter import Interpreter
from tests.support.load import Load
from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT
from workers.launch import START_FAILED_STATUS


def test_what_is_in_flight_at_a_sigterm_is_finished_and_nothing_is_accepted_after(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 60})
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
        assert daemon.process.wait(SOON) == 0
        assert callers.get(1, timeout=0.2).result()[0] == "NO_ANSWER"
    daemon.log.close()
    daemon.expect_nothing_left()


def test_who_gets_to_read_after_a_drain_has_ended_still_reads_its_answers(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 60})
    daemon.wait_for_workers()

    async def run() -> list[Any]:
        async with AsyncClient(daemon.endpoint, timeout=60) as client:
            daemon.faults.set(kind="hang")
            asked = [
                asyncio.create_task(client.create_partial(txid(number), OUTPUT, block_height=HEIGHT))
                for number in range(50)
            ]
            while client.counters.items < len(asked):
                await asyncio.sleep(0)
            daemon.wait_until(
                lambda status: sum(status["pools"]["write"][place] for place in ("queued", "in_flight")) == 50
            )
            daemon.signal(signal.SIGTERM)
            daemon.faults.clear()
            assert daemon.process.wait(SOON) == 0  # as in a program that is busy: its loop stands still
            return await asyncio.gather(*asked)

    assert [created["records"] for created in asyncio.run(run())] == [1] * 50


def test_what_is_not_done_when_the_time_to_drain_is_over_is_answered_with_the_truth(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 0.2})
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
        assert daemon.process.wait(SOON) == 0
    daemon.log.close()
    daemon.expect_nothing_left()
    with daemon.store() as store:
        assert store.batch_operate([Read(txid(1))], 30)[0].status is Status.NOT_FOUND


def test_what_a_spend_may_have_led_to_is_in_doubt_where_the_time_to_drain_ends_it(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 0.2})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client:
        spending = threading.Thread(target=client.spend_many, args=([Spend(txid(0), 0, txid(1), txid(2), 0, 1)],))
        spending.start()
        daemon.wait_until_in_flight(1)
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(SOON) == 0
        spending.join()
    (line,) = (daemon.directory / "state" / "in-doubt.jsonl").read_text().splitlines()
    doubt = json.loads(line)
    assert doubt["operation"] == "spend"
    assert msgpack.unpackb(bytes.fromhex(doubt["request"]))[0][0] == txid(0)


def test_a_second_signal_ends_a_drain_at_once(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 60})
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        held = callers.create(0)
        daemon.wait_until_in_flight(1)
        daemon.signal(signal.SIGINT)
        daemon.log.expect("SIGINT: draining")
        daemon.signal(signal.SIGINT)
        assert held.result()[:2] == ("WORKER_CRASHED", "unknown")
        assert daemon.process.wait(SOON) == 0
    daemon.log.close()
    daemon.expect_nothing_left()


def test_a_drain_under_load_answers_all_that_it_took(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    with daemon.client() as client, Load(client) as load:
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(SOON) == 0
        client.close()  # nobody waits for another daemon
        until(lambda: load.codes["SHUTTING_DOWN"] + load.codes["NO_ANSWER"] == 8)
    assert set(load.codes) <= {"OK", "SHUTTING_DOWN", "NO_ANSWER"}
    print(dict(load.codes))
    daemon.log.close()
    daemon.expect_nothing_left()
    with daemon.store() as store:
        found = [result.status for result in store.batch_operate([Read(txid) for txid in load.asked], 30)]
    assert load.codes["OK"] <= found.count(Status.OK) <= load.codes["OK"] + load.codes["NO_ANSWER"]


def test_after_a_kill_no_worker_is_left_and_the_next_daemon_serves_the_same_store(start: Start) -> None:
    daemon = start()
    daemon.wait_for_workers()
    ends = [End(process["pid"]) for process in daemon.status()["processes"]]
    assert len(ends) == 3
    with daemon.client() as client, Load(client) as load:
        daemon.kill()
        assert all(end.wait(SOON) for end in ends)
        client.close()  # what was not sent when the daemon went would wait for the next one
        until(lambda: load.codes["NO_ANSWER"] == 8)
    assert set(load.codes) == {"OK", "NO_ANSWER"}
    daemon.log.close()
    following = start()
    with following.client() as client:
        assert all(outcome.ok for outcome in client.get_many(load.created, ["txID"]))
    following.end()


def test_a_stopped_worker_does_not_outlive_a_killed_daemon(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    (worker,) = daemon.workers("write")
    end = End(worker)
    signal.pidfd_send_signal(end.descriptor, signal.SIGSTOP)
    daemon.kill()
    assert end.wait(SOON)


def test_sigttin_and_sigttou_add_and_remove_a_worker_that_writes(daemon: Daemon) -> None:
    daemon.wait_for_workers()

    def expect(count: int) -> None:
        def is_so(status: dict[str, Any]) -> bool:
            return bool(status["pools"]["write"]["workers"] == count == len(daemon.workers("write")))

        daemon.wait_until(is_so, START_SECONDS)

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
        daemon.wait_until(
            lambda status: not before & {process["pid"] for process in status["processes"]}, START_SECONDS
        )
        after = daemon.wait_until(lambda status: len(status["processes"]) == 3)
    assert set(load.codes) == {"OK"}
    assert sorted(process["pool"] for process in after["processes"]) == ["children", "read", "write"]


def test_a_second_sighup_in_the_middle_of_the_first_leaves_no_worker_too_many(daemon: Daemon) -> None:
    daemon.wait_for_workers()
    daemon.signal(signal.SIGHUP)
    daemon.log.expect("started", count=5)
    daemon.signal(signal.SIGHUP)
    daemon.log.expect("replacing all workers", count=2)
    second = [number for number, line in enumerate(daemon.log.lines) if "replacing all workers" in line][1]
    before = set(started(daemon.log.lines[:second]))  # which are all to be replaced
    status = daemon.wait_until(
        lambda status: not before & {process["pid"] for process in status["processes"]}, START_SECONDS
    )
    assert [pool["workers"] for pool in status["pools"].values()] == [1, 1, 1]
    assert len(status["processes"]) == 3


def test_sighup_keeps_a_worker_whose_replacement_cannot_start(interpreter: Interpreter, daemon: Daemon) -> None:
    daemon.wait_for_workers()
    before = {process["pid"] for process in daemon.status()["processes"]}
    interpreter.wrap(f"exit {START_FAILED_STATUS}")
    daemon.signal(signal.SIGHUP)
    daemon.log.expect("could not be replaced", count=3)
    assert {process["pid"] for process in daemon.status()["processes"]} == before
    with daemon.client() as client:
        assert client.create_partial(txid(1), {0: (1, b"\x51")}, block_height=1)["records"] == 1
