"""P2, P5: who was answered `unknown`, or anything else, can learn what became of it: from the receipts of a real
daemon, however the request ended, and however the daemon did."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any

import psutil
import pytest

from broker.receipts.ring import files_in
from protocol import Client, Spend, UtxodError, utxo_hash, wire
from tests.support.callers import txid
from tests.support.daemon import ROOT, Daemon, Raw, Start, running_daemon
from tests.support.patience import until
from tests.support.seven_operations import NOTHING_ENDS_IT
from utxod.explain import Explained
from utxod.explain import explain as look_up

CHILDREN = dict.fromkeys(range(3), (1, b"\x51"))  # of the shared daemon's: two child records
ONE_PER_RECORD = "&utxo_batch_size=1"


def serving(start: Start, settings: Any = None) -> Daemon:
    daemon = start({**NOTHING_ENDS_IT, **(settings or {})})
    daemon.wait_for_workers()
    return daemon


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Daemon]:
    """With one output per record. Each test asks of transactions of its own."""
    with running_daemon(tmp_path_factory.mktemp("explain"), NOTHING_ENDS_IT, store_kind, ONE_PER_RECORD) as daemon:
        daemon.wait_for_workers()
        yield daemon


def in_flight(daemon: Daemon, pool: str = "write") -> None:
    daemon.wait_until(lambda status: status["pools"][pool]["in_flight"], 60)


def explain(daemon: Daemon, request_id: str) -> Explained:
    digits, _, item = request_id.partition("/")
    directory = daemon.directory / "state"
    return look_up(
        directory, bytes.fromhex(digits), int(item) if item else None, lambda *_: nullcontext(lambda _: None)
    )


def explained(daemon: Daemon, request_id: str, executed: str, within: float = 60.0) -> Explained:
    """Once the receipts say so."""

    def found() -> Explained | None:
        answer = explain(daemon, request_id)
        return answer if answer.is_found and answer.executed == executed else None

    answer: Explained = until(found, within)
    return answer


def error_of(future: "Future[Any]") -> UtxodError:
    error = future.exception(60)
    assert isinstance(error, UtxodError)
    return error


def patient(daemon: Daemon) -> Client:
    """Whose daemon may be late with its answer that a deadline has passed."""
    return daemon.client(timeout=60, grace=60)


def create(client: Client, number: int, outputs: Any = CHILDREN, **options: Any) -> "Future[Any]":
    return client.submit(client.create_partial, txid(number), outputs, block_height=1, **options)


def spend(number: int, vout: int = 0, spender: int = 900, satoshis: int = 1) -> Spend:
    return Spend(txid(number), vout, utxo_hash(txid(number), vout, b"\x51", satoshis), txid(spender), 0, 10)


def test_what_expired_in_the_queue_was_not_executed(shared: Daemon) -> None:
    with patient(shared) as client, shared.faults.hang():
        held = create(client, 11)
        in_flight(shared)
        error = error_of(create(client, 12, timeout=4))
        assert (error.code, error.executed) == ("DEADLINE_EXCEEDED", "no")
        answer = explained(shared, error.request_id, "no")
        shared.faults.clear()
        held.result(60)
    assert "handed to no worker" in answer.reason
    (request,) = answer.as_json()["requests"]
    assert request["dispatches"] == []
    assert (request["operation"], request["answered"]["code"]) == ("create", "DEADLINE_EXCEEDED")


def test_what_expired_in_execution_is_known_once_it_is_done(shared: Daemon) -> None:
    with patient(shared) as client:
        with shared.faults.hang():
            asked = create(client, 21, timeout=4)
            in_flight(shared)
            error = error_of(asked)
            assert (error.code, error.executed) == ("DEADLINE_EXCEEDED", "unknown")
            explained(shared, error.request_id, "unknown")
        answer = explained(shared, error.request_id, "yes")
    (request,) = answer.as_json()["requests"]
    assert (request["answered"]["code"], request["answered"]["executed"]) == ("DEADLINE_EXCEEDED", "unknown")
    assert request["late"]["code"] == "OK"
    (dispatch,) = request["dispatches"]
    assert dispatch["worker_pid"] in shared.workers("write")
    assert dispatch["store_us"] >= 100_000  # it hung


def test_what_expired_in_execution_and_was_refused_then_was_not_executed(shared: Daemon) -> None:
    with patient(shared) as client:
        create(client, 31).result(60)
        client.spend(spend(31))
        with shared.faults.hang():
            asked = client.submit(client.spend, spend(31, spender=931), timeout=4)
            in_flight(shared)
            error = error_of(asked)
            assert (error.code, error.executed) == ("DEADLINE_EXCEEDED", "unknown")
        answer = explained(shared, error.request_id, "no")
    assert answer.as_json()["requests"][0]["late"]["code"] == "SPENT"


def test_of_what_a_killed_worker_held_nobody_knows(shared: Daemon) -> None:
    with shared.client(timeout=60) as client:
        with shared.faults.hang():
            asked = create(client, 41)
            in_flight(shared)
            (worker,) = shared.workers("write")
            os.kill(worker, signal.SIGKILL)
            error = error_of(asked)
        assert (error.code, error.executed) == ("WORKER_CRASHED", "unknown")
        until(lambda: "while it had it" in explain(shared, error.request_id).reason, 60)
        answer = explain(shared, error.request_id)
    assert f"worker {worker} was ended by SIGKILL while it had it" in answer.reason
    assert answer.executed == "unknown"
    assert "ask again: that is safe" in answer.as_json()["next"][0]
    assert "utxod show TXID" in answer.as_json()["next"][0]


def test_what_was_refused_was_not_executed(start: Start) -> None:
    daemon = serving(start, {"broker.queue_items": 1})
    with daemon.client(timeout=60) as client, daemon.faults.hang():
        held = create(client, 1)
        in_flight(daemon)
        waiting = create(client, 2)
        daemon.wait_until(lambda status: status["pools"]["write"]["queued"] == 1, 60)
        error = error_of(create(client, 3))
        assert error.code == "OVERLOADED"
        answer = explained(daemon, error.request_id, "no")
        daemon.faults.clear()
        held.result(60), waiting.result(60)
    assert "refused on arrival, OVERLOADED" in answer.reason
    assert answer.as_json()["requests"][0]["operation"] == "create"


def test_a_refused_item_among_good_ones_was_not_executed_and_they_were(shared: Daemon) -> None:
    with shared.client(timeout=60) as client:
        create(client, 51).result(60)
        outcomes = client.spend_many([spend(51, 0), spend(51, 1, satoshis=7), spend(51, 2)])
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert outcomes[1].error is not None
        request_id = outcomes[1].error.request_id
        answer = explained(shared, request_id, "no")
    assert "UTXO_HASH_MISMATCH" in answer.reason
    digits, item = request_id.split("/")
    assert item == "1"
    whole = explain(shared, digits)
    assert whole.executed == "mixed"
    assert whole.as_json()["requests"][0]["items_executed"] == {"yes": 2, "no": 1, "unknown": 0}
    assert [explain(shared, f"{digits}/{index}").executed for index in range(3)] == ["yes", "no", "yes"]
    assert explain(shared, f"{digits}/3").executed == "unknown"  # there is no such item


def test_what_waits_for_follow_ups_is_executed_once_they_are(shared: Daemon) -> None:
    with shared.client(timeout=60) as client:
        create(client, 61).result(60)
        locked, missing = client.set_locked_many([(txid(61), True), (txid(62), True)])
        assert locked.result == 2
        assert missing.error is not None
        digits = missing.error.request_id.split("/")[0]
        answer = explained(shared, f"{digits}/0", "yes")
        assert "all the work that belongs to it was done" in answer.reason
        assert explained(shared, f"{digits}/1", "no").executed == "no"
    dispatches = answer.as_json()["requests"][0]["dispatches"]
    assert [(dispatch["operation"], dispatch["of_item"]) for dispatch in dispatches] == [
        ("set_locked", None),
        ("lock_children", 0),
    ]


def test_of_what_lost_its_follow_up_it_is_known_that_its_own_record_was_written(shared: Daemon) -> None:
    with shared.client(timeout=60) as client:
        create(client, 71).result(60)
        shared.wait_until(lambda status: status["owed"] == 0)  # by what others have asked
        shared.faults.set(kind="hang", function="setLocked", index=1)  # of two: the child records, not their master
        asked = client.submit(client.set_locked, txid(71), True)
        in_flight(shared, "children")
        (worker,) = shared.workers("children")
        os.kill(worker, signal.SIGKILL)
        error = error_of(asked)
        shared.faults.clear()
        assert (error.code, error.executed) == ("WORKER_CRASHED", "unknown")
        until(lambda: "its own record was written" in explain(shared, error.request_id).reason, 60)
    assert explain(shared, error.request_id).executed == "unknown"


def test_a_read_that_lost_its_worker_tells_both(shared: Daemon) -> None:
    with shared.client(timeout=60) as client:
        create(client, 81).result(60)
        with shared.faults.hang():
            asked = client.submit(client.get_many, [txid(81), txid(82)])
            in_flight(shared, "read")
            (worker,) = shared.workers("read")
            os.kill(worker, signal.SIGKILL)
            shared.wait_until(lambda status: status["counters"].get("read_again") == 2, 60)
        found, missing = asked.result(60)
        assert found.ok
        digits = missing.error.request_id.split("/")[0]
        explained(shared, f"{digits}/0", "yes")

        def dispatches() -> list[Any]:
            requests = explain(shared, digits).as_json()["requests"]
            return [dispatch for request in requests for dispatch in request["dispatches"]]

        until(lambda: len(dispatches()) == 3, 60)
    first, *again = dispatches()
    assert (first["worker_pid"], first["lost_because"]) == (worker, "was ended by SIGKILL")
    assert {dispatch["of_item"] for dispatch in again} == {0, 1}


def test_what_a_daemon_held_that_was_killed_is_told_apart_from_what_it_had_not_begun(start: Start) -> None:
    daemon = serving(start)
    with daemon.client(timeout=60) as client, daemon.faults.hang():
        held = create(client, 1)
        in_flight(daemon)
        waiting = create(client, 2)
        daemon.wait_until(lambda status: status["pools"]["write"]["queued"] == 1, 60)
        daemon.kill()
        held_error, waiting_error = error_of(held), error_of(waiting)
    assert {held_error.executed, waiting_error.executed} == {"unknown"}
    until(lambda: all(daemon_.ended for daemon_ in explain(daemon, held_error.request_id).found.daemons.values()), 60)
    answer = explain(daemon, held_error.request_id)
    assert (answer.is_found, answer.executed) == (True, "unknown")
    assert "the daemon was gone while worker" in answer.reason
    answer = explain(daemon, waiting_error.request_id)
    assert (answer.is_found, answer.executed) == (False, "unknown")
    assert "it was handed to no worker" in answer.reason
    assert answer.found.coverage is not None
    assert not answer.found.coverage.gaps


def test_of_two_requests_that_bear_one_id_both_are_told(start: Start, raw: Callable[..., Raw]) -> None:
    daemon = serving(start)
    one, two = raw(daemon.endpoint), raw(daemon.endpoint)
    for peer, number in ((one, 1), (two, 2)):
        welcome = peer.handshake()
        header = wire.RequestHeader(welcome.epoch, "get", welcome.clock + 60_000_000, 1, 0)
        request_id = peer.ask(header, wire.pack_body([[txid(number), None]]))
        peer.receive(within=60)
    until(lambda: [each.executed for each in explain(daemon, request_id.hex()).judged] == ["no", "no"], 60)
    answer = explain(daemon, request_id.hex())
    assert answer.reason == "2 requests bear this id: see each"
    assert answer.executed == "no"


def test_huge_batches_are_told_item_by_item(shared: Daemon, raw: Callable[..., Raw]) -> None:
    """Many items of one request, and many requests of one dispatch."""
    with shared.client(timeout=60) as client:
        outcomes = client.get_many([txid(number) for number in range(10_000)])
        error = outcomes[9_999].error
        assert error is not None
        answer = explained(shared, error.request_id, "no")
        assert answer.judged[0].request.items == 10_000
        peer = raw(shared.endpoint)
        welcome = peer.handshake()
        header = wire.RequestHeader(welcome.epoch, "get", welcome.clock + 60_000_000, 1, 0)
        with shared.stopped():
            ids = [peer.ask(header, wire.pack_body([[txid(number), None]])) for number in range(3_000)]
        peer.replies(3_000, within=60)
        for request_id in (ids[0], ids[1_000], ids[2_999]):
            explained(shared, request_id.hex(), "no")


def test_a_recorder_that_is_killed_or_stopped_harms_nobody(start: Start) -> None:
    daemon = serving(start)
    (line,) = daemon.log.expect(r"started recorder (\d+)")
    recorder = psutil.Process(int(line.split()[-1]))
    with daemon.client(timeout=60) as client:
        recorder.suspend()
        assert all(outcome.ok for outcome in client.create_many([]))
        for number in range(1, 200):
            create(client, number).result(60)
        recorder.kill()
        daemon.log.expect("started recorder", count=2, within=60)
        error = error_of(client.submit(client.get, txid(999)))
        explained(daemon, error.request_id, "no")
    assert daemon.status()["figures"]["receipts"]["dropped"] == 0


def test_where_no_receipts_are_kept_there_are_none(start: Start) -> None:
    daemon = serving(start, {"receipts_bytes": 0})
    with daemon.client(timeout=60) as client:
        error = error_of(client.submit(client.get, txid(999)))
    assert "started recorder" not in daemon.log.text
    assert list(files_in(daemon.directory / "state")) == []
    assert "there are no receipts" in explain(daemon, error.request_id).reason


def run(daemon: Daemon, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "utxod", "explain", "--state", str(daemon.directory / "state"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def test_the_command_tells_it_in_words_and_as_json(shared: Daemon) -> None:
    with shared.client(timeout=60) as client:
        create(client, 101).result(60)
        error = error_of(client.submit(client.spend, spend(101, satoshis=7)))
    explained(shared, error.request_id, "no")
    told = run(shared, error.request_id)
    assert told.returncode == 0, told.stderr
    for words in ("spend, 1 item,", "worker", "UTXO_HASH_MISMATCH", "executed", "nothing of it was executed", "next"):
        assert words in told.stdout
    as_json = json.loads(run(shared, error.request_id, "--json").stdout)
    assert (as_json["executed"], as_json["item"]) == ("no", 0)
    assert as_json["receipts"]["gaps"] == []
    assert as_json["next"][0].startswith("UTXO_HASH_MISMATCH: look at the output")
    assert as_json["next"][1] == "to see what there is: utxod coin TXID:VOUT"
    nothing = run(shared, "00" * 15 + "ff")
    assert nothing.returncode == 3
    assert "nothing is known of it here" in nothing.stdout
    assert run(shared, "zz").returncode == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_receipts_that_may_not_be_read_are_said_to_be(start: Start) -> None:
    daemon = serving(start)
    daemon.log.expect("receipts are kept")
    (daemon.directory / "state").chmod(0)
    told = run(daemon, "00" * 16)
    (daemon.directory / "state").chmod(0o700)
    assert told.returncode == 1
    assert "Permission denied" in told.stderr
