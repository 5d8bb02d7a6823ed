"""Settings that change while the daemon runs: what can takes effect, what can't is named, what is faulty changes
nothing; and no item fails meanwhile."""

import itertools
import json
import os
import secrets
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import HEIGHT, OUTPUT, Callers
from tests.support.daemon import SHORT, Daemon, Start
from tests.support.load import Load
from tests.support.ordering import line_to, order, refused, run
from tests.support.patience import SOON, until
from tests.support.seven_operations import NOTHING_ENDS_IT

Configured = Callable[[str], Daemon]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "utxod.toml"


@pytest.fixture
def configured(start: Start, file: Path) -> Configured:
    """A daemon with these settings in its file. Its flags win over the file."""

    def _start(text: str, **settings: Any) -> Daemon:
        file.write_text(text)
        daemon = start(settings, "--config", str(file))
        daemon.wait_for_workers()
        return daemon

    return _start


def pids(daemon: Daemon) -> set[int]:
    return {process["pid"] for process in daemon.status()["processes"]}


def wait_until_all_are_replaced(daemon: Daemon, before: set[int], count: int) -> None:
    def is_done(status: dict[str, Any]) -> bool:
        now = {process["pid"] for process in status["processes"]}
        ready = sum(pool["workers"] for pool in status["pools"].values())
        return not before & now and len(now) == ready == count

    daemon.wait_until(is_done, within=60)


def test_what_has_changed_takes_effect_all_workers_are_replaced_and_no_item_fails(
    configured: Configured, file: Path
) -> None:
    daemon = configured("[broker]\nbatch_limit = 500\n")
    before = pids(daemon)
    file.write_text(
        "drain_seconds = 7\nblock_height_retention = 300\n[broker]\nbatch_limit = 7\n"
        '[workers]\nread = 2\n[log]\nlevel = "debug"\nformat = "json"\n'
    )
    with daemon.client() as client, Load(client) as load:
        answer = order(daemon, "reload")
        assert answer == {
            "changed": {
                "log.level": ["info", "debug"],
                "log.format": ["text", "json"],
                "workers.read": [1, 2],
                "broker.batch_limit": [500, 7],
                "block_height_retention": [288, 300],
                "drain_seconds": [10.0, 7.0],
            },
            "at_the_next_start": {},
            "kept": {},
            "replaced": 3,
        }
        wait_until_all_are_replaced(daemon, before, 4)
        assert len(daemon.workers("read")) == 2
        assert daemon.status()["settings"]["broker.batch_limit"] == 7
        client.create_partial(secrets.token_bytes(32), OUTPUT, block_height=HEIGHT)  # by a new worker, which says so
    assert set(load.codes) == {"OK"}
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0
    daemon.log.close()
    began = next(number for number, line in enumerate(daemon.log.lines) if "reload: " in line)
    by_new = [json.loads(line) for line in daemon.log.lines[began:] if line.startswith("{")]
    assert any(
        event["message"].startswith("SIGTERM: draining") and "within 7 s" in event["message"] for event in by_new
    )
    assert any(event["process"] == "write worker" and event["level"] == "debug" for event in by_new)


def test_all_are_replaced_however_pools_are_scaled_meanwhile(configured: Configured) -> None:
    daemon = configured("", **{"workers.write": 2})
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 2, within=60)
    before = pids(daemon)
    with daemon.client() as client, Load(client) as load:
        assert order(daemon, "reload")["replaced"] == 4
        counts = itertools.cycle([1, 2])

        def are_replaced() -> bool:
            order(daemon, "scale", "read", "1", "--no-wait")
            order(daemon, "scale", "write", str(next(counts)), "--no-wait")
            return not before & pids(daemon)

        until(are_replaced, within=60)
        order(daemon, "scale", "write", "1")
        wait_until_all_are_replaced(daemon, before, 3)
    assert set(load.codes) == {"OK"}
    assert "could not be replaced" not in daemon.log.text


def test_the_limits_of_queues_change(configured: Configured, file: Path) -> None:
    daemon = configured("", **NOTHING_ENDS_IT)
    before = pids(daemon)
    file.write_text("[broker]\nqueue_items = 1\n")
    assert order(daemon, "reload")["changed"] == {"broker.queue_items": [200_000, 1]}
    wait_until_all_are_replaced(daemon, before, 3)
    daemon.faults.set(kind="hang")
    with daemon.client() as client, Callers(client) as callers:
        held = [callers.create(1)]
        daemon.wait_until_in_flight(1)
        held.append(callers.create(2))
        daemon.wait_until(lambda status: status["pools"]["write"]["queued"] == 1)
        assert callers.create(3).result()[0] == "OVERLOADED"
        daemon.faults.clear()
        assert [future.result()[0] for future in held] == ["OK", "OK"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[workers]\nwrite = "many"\n', "workers.write: must be a valid integer, got 'many'"),
        ("[workers]\nwrite = 2\nread = 0\n", "workers.read: must be greater than or equal to 1"),
        ("[workers\n", "utxod.toml"),
        ("stroe = 1\nlisten = 1", "stroe: no such setting; did you mean store?"),
        (None, "utxod.toml: No such file or directory"),
    ],
)
def test_a_faulty_file_changes_nothing_and_says_what_is_wrong(
    configured: Configured, file: Path, text: str | None, wrong: str
) -> None:
    daemon = configured("")
    before = pids(daemon)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    said = refused(daemon, "reload")
    assert "Error: nothing is changed: " in said
    assert wrong in said
    daemon.signal(signal.SIGHUP)
    daemon.log.expect("ERROR reload: nothing is changed: ", count=2)
    assert wrong in daemon.log.text
    assert "replacing all workers" not in daemon.log.text
    assert pids(daemon) == before
    file.write_text("")
    assert order(daemon, "reload")["changed"] == {}


def test_what_needs_a_restart_is_named_each_time_and_stays(configured: Configured, file: Path) -> None:
    daemon = configured("")
    file.write_text('metrics = "127.0.0.1:1"\n[broker]\nmax_items = 5\nsweep_seconds = 0.5\n')
    for _ in range(2):
        assert order(daemon, "reload")["at_the_next_start"] == {
            "metrics": ["", "127.0.0.1:1"],
            "broker.max_items": [10_000, 5],
            "broker.sweep_seconds": [0.05, 0.5],
        }
    assert "broker.max_items: stays 10000 until a restart; the settings say 5" in run(daemon, "reload").output
    daemon.log.expect(r"reload: .*broker.max_items needs a restart \(is 10000, will be 5\)")
    assert daemon.status()["settings"]["broker.max_items"] == 10_000


def test_a_value_of_any_length_is_told_in_an_answer_that_is_bounded(configured: Configured, file: Path) -> None:
    daemon = configured("")
    file.write_text(f'metrics = "{"h" * 100_000}:1"\n')
    assert order(daemon, "reload")["at_the_next_start"] == {"metrics": ["", "h" * 500 + "..."]}


def test_what_was_ordered_stays_until_the_same_setting_changes(configured: Configured, file: Path) -> None:
    daemon = configured("[workers]\nwrite = 1\n")
    order(daemon, "scale", "write", "2")
    order(daemon, "log-level", "warning")
    file.write_text("drain_seconds = 9\n[workers]\nwrite = 1\n")
    answer = order(daemon, "reload")
    assert answer["changed"] == {"drain_seconds": [10.0, 9.0]}
    assert answer["kept"] == {"workers.write": [1, 2], "log.level": ["info", "warning"]}
    assert "workers.write: stays 2 by order; the settings say 1" in run(daemon, "reload").output
    file.write_text('drain_seconds = 9\n[workers]\nwrite = 3\n[log]\nlevel = "error"\n')
    answer = order(daemon, "reload")
    assert answer["changed"] == {"workers.write": [1, 3], "log.level": ["info", "error"]}
    assert answer["kept"] == {}
    daemon.wait_until(lambda status: status["pools"]["write"]["workers_wanted"] == 3)


def test_flags_win_over_the_file_as_they_did_at_the_start(start: Start, file: Path) -> None:
    file.write_text("")
    daemon = start({"workers.write": 2}, "--config", str(file))
    daemon.wait_for_workers()
    file.write_text("[workers]\nwrite = 5\nread = 2\n")
    assert order(daemon, "reload")["changed"] == {"workers.read": [1, 2]}
    assert daemon.status()["pools"]["write"]["workers_wanted"] == 2


def test_sighup_is_a_reload(configured: Configured, file: Path) -> None:
    daemon = configured("")
    file.write_text("[workers]\nread = 2\n")
    daemon.signal(signal.SIGHUP)
    daemon.log.expect("reload: workers.read was 1, and is 2")
    daemon.wait_until(lambda status: status["pools"]["read"]["workers"] >= 2, within=60)


def test_a_disk_that_keeps_its_reader_waiting_holds_up_neither_service_nor_end(
    configured: Configured, file: Path
) -> None:
    daemon = configured("")
    file.unlink()
    os.mkfifo(file)
    reading = threading.Thread(target=run, args=(daemon, "reload", "--timeout", "60"))
    reading.start()
    writer = os.open(file, os.O_WRONLY)  # it is being read
    with daemon.client() as client, Callers(client) as callers:
        assert callers.create(1).result()[0] == "OK"
        daemon.signal(signal.SIGHUP)
        assert callers.create(2).result()[0] == "OK"
    daemon.end()
    os.close(writer)
    reading.join(SOON)
    assert not reading.is_alive()


def test_all_who_ask_while_the_settings_are_read_are_answered_by_one_more_reading(
    configured: Configured, file: Path
) -> None:
    daemon = configured("")
    file.unlink()
    os.mkfifo(file)

    def let_it_be_read() -> None:
        os.close(os.open(file, os.O_WRONLY))

    with line_to(daemon) as line:
        for _ in range(10):
            line.socket.send(b'{"do": "reload"}')
        assert "no order" in line.say(b"{}")["error"]  # by now it has taken in all of them
        let_it_be_read()
        assert line.hear()["ok"]
        let_it_be_read()
        assert all(line.hear()["ok"] for _ in range(9))
    file.unlink()
    file.write_text("")
    assert order(daemon, "reload")["changed"] == {}
    assert len(daemon.log.expect("reload: nothing has changed", count=3)) == 3


def test_a_worker_is_judged_by_the_time_that_it_was_given(configured: Configured, file: Path) -> None:
    """It was started with more patience than its successors have."""
    daemon = configured("[broker]\nbudget_seconds = 30\ngrace_seconds = 60\n")
    (old,) = daemon.workers("write")
    daemon.faults.set(kind="hang")
    with daemon.client(timeout=60) as client, Callers(client) as callers:
        held = callers.create(1)
        daemon.wait_until_in_flight(1)
        file.write_text("".join(["[broker]\n", *(f"{key[7:]} = {value}\n" for key, value in SHORT.items())]))
        order(daemon, "reload")
        daemon.wait_until(
            lambda status: (
                {"pool": "write", "pid": old, "state": "leaving"}.items()
                <= {**next((each for each in status["processes"] if each["pid"] == old), {})}.items()
            ),
            within=60,
        )
        sweeps = daemon.status()["figures"]["sweeps"]
        daemon.wait_until(lambda status: status["figures"]["sweeps"] > sweeps + 30, within=60)
        assert not held.done()
        daemon.faults.clear()
        assert held.result()[0] == "OK"
        daemon.log.expect(f"write worker {old} is gone: it exited with status 0")
        daemon.faults.set(kind="hang")
        assert callers.create(2).result()[0] == "WORKER_CRASHED"  # by the patience of now
        daemon.faults.clear()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_pool_that_is_scaled_while_its_workers_are_replaced_has_as_many_as_was_ordered(
    start: Start, count: int
) -> None:
    daemon = start({"workers.write": 2})
    daemon.wait_for_workers()
    daemon.wait_until(lambda status: status["pools"]["write"]["workers"] == 2, within=60)
    before = pids(daemon)
    order(daemon, "reload")
    with line_to(daemon) as line:
        scale = json.dumps({"do": "scale", "pool": "write", "workers": count}).encode()
        until(lambda: line.say(scale)["ok"] and not before & pids(daemon), within=60)
    wait_until_all_are_replaced(daemon, before, 2 + count)
    assert len(daemon.workers("write")) == count
    daemon.end()
    assert "could not be replaced" not in daemon.log.text
