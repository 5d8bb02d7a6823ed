"""P7, P10 and P11: owed work is finished or noted; a lock in other hands is no wedge; nothing gathers."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from broker.in_doubt_log import FILE_NAME
from protocol import Client, Spend, utxo_hash
from store import Read
from store.layout import record_key
from store.lmdb.writer_lock import WriterLock
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import Callers, txid
from tests.support.daemon import Daemon, Start
from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT

OUTPUTS = {0: (1, b"\x51"), 1: (2, b"\x51")}  # with one output per record: a child record each


CHILD_SPEND = Spend(txid(1), 1, utxo_hash(txid(1), 1, b"\x51", 2), txid(9), 0, 10)


def spend_the_child(client: Client) -> None:
    """The child record's only output, so that the master is owed a note."""
    client.create_partial(txid(1), OUTPUTS, block_height=1)
    assert client.spend(CHILD_SPEND) is True


def spent_children(daemon: Daemon) -> Any:
    with daemon.store() as store:
        return store.batch_operate([Read(txid(1), ["spentExtraRecs"])], 30)[0].value["spentExtraRecs"]


def test_owed_work_is_finished_before_a_drain_ends(start: Start) -> None:
    daemon = start({**NOTHING_ENDS_IT, "drain_seconds": 60}, store_options="&utxo_batch_size=1")
    daemon.faults.set(kind="hang", function="noteChild")
    with daemon.client() as client:
        spend_the_child(client)
        daemon.wait_until(lambda status: status["owed"] == 1)
    daemon.signal(signal.SIGTERM)
    daemon.log.expect("SIGTERM: draining 1 pending")
    daemon.faults.clear()
    assert daemon.process.wait(SOON) == 0
    assert spent_children(daemon) == 1
    assert not (daemon.directory / "state" / FILE_NAME).exists()


def test_a_transaction_that_is_spent_is_given_its_delete_at_height_in_all_its_records(start: Start) -> None:
    daemon = start({"block_height_retention": 100}, store_options="&utxo_batch_size=1")
    outputs = dict.fromkeys(range(5), (2, b"\x51"))
    with daemon.client() as client:
        client.create_partial(txid(1), outputs, block_height=1, mined=[(7, 1, 0)])
        spends = [Spend(txid(1), vout, utxo_hash(txid(1), vout, b"\x51", 2), txid(9), vout, 10) for vout in outputs]
        assert client.spend_transaction(spends) == [True] * 5
        daemon.wait_until(lambda status: status["owed"] == 0)
    with daemon.store() as store:
        records = store.batch_operate([Read(record_key(txid(1), index), ["deleteAtHeight"]) for index in outputs], 30)
    assert [record.value for record in records] == [{"deleteAtHeight": 110}] * 5
    assert daemon.counter("in_doubt") == 0


def test_owed_work_whose_worker_is_lost_is_noted_in_the_in_doubt_log(start: Start) -> None:
    daemon = start(NOTHING_ENDS_IT, store_options="&utxo_batch_size=1")
    daemon.faults.set(kind="hang", function="noteChild")
    with daemon.client() as client:
        spend_the_child(client)
        daemon.wait_until_in_flight(1, "children")
        os.kill(daemon.workers("children")[0], signal.SIGKILL)
        daemon.wait_until(lambda status: status["owed"] == 0)
    daemon.faults.clear()
    log = daemon.directory / "state" / FILE_NAME
    until(lambda: log.exists() and log.read_text().endswith("\n"))  # a thread writes it
    lines = [json.loads(line) for line in log.open()]
    assert [(line["txid"], line["operation"]) for line in lines] == [(txid(1)[::-1].hex(), "note_child")]
    assert daemon.counter("in_doubt") == 1


def test_what_a_killed_daemon_still_owed_is_healed_by_asking_again(start: Start) -> None:
    """The note of the spend dies with the daemon; the next one's answer is false, and tells the master."""
    killed = start(NOTHING_ENDS_IT, store_options="&utxo_batch_size=1")
    killed.faults.set(kind="hang", function="noteChild")
    with killed.client() as client:
        spend_the_child(client)
        killed.wait_until(lambda status: status["owed"] == 1)
    killed.kill()
    killed.faults.clear()
    daemon = start(store_options="&utxo_batch_size=1")
    assert spent_children(daemon) == 0
    with daemon.client() as client:
        assert client.spend(CHILD_SPEND) is False
    daemon.wait_until(lambda status: status["owed"] == 0)
    assert spent_children(daemon) == 1


def test_two_daemons_lock_as_one(start: Start) -> None:
    """The same one wins on every record, whichever daemon's word comes last."""
    options = "&utxo_batch_size=1"
    one = start(NOTHING_ENDS_IT, store_options=options)
    other = start(NOTHING_ENDS_IT, store_options=options, place="b")
    with one.client() as client, other.client() as rival:
        client.create_partial(txid(1), dict.fromkeys(range(6), (2, b"\x51")), block_height=1)
        with ThreadPoolExecutor(4) as pool:
            asked = [
                pool.submit(asker.set_locked, txid(1), value)
                for _ in range(25)
                for asker, value in ((client, True), (rival, False))
            ]
            assert {one.result() for one in asked} == {5}
    with other.store() as store:
        found = store.batch_operate([Read(record_key(txid(1), index), ["locked"]) for index in range(6)], 30)
    assert len({result.value["locked"] for result in found}) == 1


@EMBEDDED_ONLY
def test_waiting_for_the_writers_lock_is_not_taken_for_a_wedge(start: Start) -> None:
    daemon = start({"broker.budget_seconds": 2, "broker.grace_seconds": 60})
    daemon.wait_for_workers()
    starts = daemon.worker_starts()
    lock = WriterLock(daemon.directory / "store" / "writer.lock")
    with daemon.client() as client, Callers(client) as callers:
        with lock.held(30):
            assert callers.create(1).result()[:2] == ("STORE_ERROR", "no")
            assert callers.get(1).result()[0] == "TX_NOT_FOUND"
        assert callers.create(1).result()[0] == "OK"
    lock.close()
    assert daemon.worker_starts() == starts
    assert daemon.status()["pools"]["write"]["breaker"] == "closed"


def test_of_workers_and_submitters_that_are_gone_no_descriptor_is_left(daemon: Daemon) -> None:
    def submitter(number: int) -> None:
        with daemon.client() as client:
            client.create_partial(txid(number), OUTPUTS, block_height=1)

    daemon.wait_for_workers()
    at_first = daemon.descriptors()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(submitter, range(40)))
    for kind in ("read", "write", "children"):
        os.kill(daemon.workers(kind)[0], signal.SIGKILL)
    daemon.log.expect("is gone", count=3)
    daemon.wait_for_workers()
    until(lambda: daemon.descriptors() <= at_first)
    status = daemon.status()
    assert (status["pending"], status["owed"]) == (0, 0)
