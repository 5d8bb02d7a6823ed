"""The daemon is asked once, however many want to know; and where it is reached."""

import json
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from protocol import NoAnswer, codes
from protocol.wire import Error
from tests.support.reports import changed, report
from utxod.figures import asking
from utxod.figures.asking import Asker, endpoint_to_ask
from utxod.figures.shown import as_json

LOOPBACK = next(name for index, name in socket.if_nameindex() if name.startswith("lo"))


class Daemon:
    """Counts how often it is asked. reports: what it answers, one after the other, the last one again and again; None
    for no answer."""

    def __init__(self, *reports: Any) -> None:
        self.reports = reports
        self.asked = 0
        self.holds = threading.Event()
        self.holds.set()

    def status(self) -> Any:
        answer = self.reports[min(self.asked, len(self.reports) - 1)]
        self.asked += 1
        self.holds.wait(30)
        if answer is None:
            raise NoAnswer(Error(codes.NO_ANSWER, codes.NO, "nobody there"))
        return answer


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody shares a report."""
    monkeypatch.setattr(asking, "SHARED_SECONDS", 0.0)


def test_all_who_ask_within_half_a_second_share_one_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SHARED_SECONDS", 600.0)
    daemon = Daemon(report())
    daemon.holds.clear()
    asker, answers = Asker(daemon.status), []
    askers = [threading.Thread(target=lambda: answers.append(asker.ask())) for _ in range(8)]
    for thread in askers:
        thread.start()
    daemon.holds.set()
    for thread in askers:
        thread.join(30)
    assert len(answers) == 8
    assert daemon.asked == 1


def test_silence_is_shared_too_and_counts_from_its_beginning(at_once: None) -> None:
    asker = Asker(Daemon(None, None, report(), None).status)
    first, second, back, again = (asker.ask() for _ in range(4))
    assert first.report is second.report is again.report is None
    assert first.silent_since == second.silent_since == first.at
    assert again.silent_since == again.at > second.silent_since
    assert back.report is not None


def test_what_is_wrong_is_served_with_the_report(at_once: None) -> None:
    asker = Asker(Daemon(report(), changed(report(601), {"pools.write.breaker": "open"})).status)
    assert json.loads(as_json(asker.ask()))["findings"] == []
    served = json.loads(as_json(asker.ask()))
    assert [(each["name"], each["pool"]) for each in served["findings"]] == [("UtxodBreakerOpen", "write")]
    assert served["epoch"] == f"{report()['epoch']:016x}"


def test_where_there_is_no_report_json_says_why_and_since_when() -> None:
    asked = Asker(Daemon(None).status).ask()
    assert json.loads(as_json(asked)) == {"error": "nobody there", "silent_since": asked.at, "asked_at": asked.at}


def test_users_and_files_of_passwords_are_not_served() -> None:
    url = "aerospike://10.0.0.1/utxo?set=a&user=secret&password_file=/secret"
    assert b"secret" not in as_json(Asker(Daemon(changed(report(), {"store": url})).status).ask())


@pytest.mark.parametrize(
    ("addresses", "asked"),
    [
        (["tcp://127.0.0.1:9463", "ipc:///run/u.sock"], "ipc:///run/u.sock"),
        (["tcp://10.1.2.3:9463"], "tcp://10.1.2.3:9463"),
        (["tcp://*:9463"], "tcp://127.0.0.1:9463"),
        (["tcp://0.0.0.0:9463"], "tcp://127.0.0.1:9463"),
        (["tcp://[::]:9463"], "tcp://[::1]:9463"),
        (["tcp://[::1]:9463"], "tcp://[::1]:9463"),
        (["tcp://localhost:9463"], "tcp://localhost:9463"),
        ([f"tcp://{LOOPBACK}:9463"], "tcp://127.0.0.1:9463"),
        (["ipc://@name", "tcp://127.0.0.1:9463"], "ipc://@name"),
    ],
)
def test_the_address_that_is_asked_is_the_nearest(addresses: Sequence[str], asked: str) -> None:
    assert endpoint_to_ask(addresses) == asked
