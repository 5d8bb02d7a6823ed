"""Rules and dashboard by what a real daemon serves: a real Prometheus scrapes it through some load and some faults, and
then each expression gives what it is to."""

import functools
import os
import re
import signal
import time
from pathlib import Path

import pytest

from protocol import Client
from tests.deploy.test_names import EXPRESSIONS, KNOWN
from tests.support.callers import Callers
from tests.support.daemon import Daemon, End, running_daemon
from tests.support.dashboards import queries
from tests.support.load import creating, load, looking
from tests.support.patience import at_last, until
from tests.support.prometheus import PROGRAM, Prometheus, alert_rules, running_prometheus, selectors
from utxod.diagnosis.findings import STANDSTILL_SECONDS

# A store that does not answer is found out soon, though no worker that a busy machine holds up is taken for that; and
# its breaker stays open.
SETTINGS = {
    "metrics": "127.0.0.1:0",
    "broker.budget_seconds": 2,
    "broker.grace_seconds": 10,
    "broker.probe_seconds": 3600,
}
SCRAPES = "500ms"
# What these faults are to be called; by how many items were not served, others may be too.
FOUND = {"UtxodBreakerOpen", "UtxodInDoubt", "UtxodRefusing", "UtxodStandstill", "UtxodWorkersDying"}
_COMPARISON = re.compile(r"(?<![<>=!~])(==|>=|<=|>|<)(?![=~])(?![^{]*})")


def ask(client: Client) -> bool:
    """Somebody creates and reads, and asks for what is not there, whatever becomes of it."""
    return all([looking()(client), creating(reads=True)(client)])  # both, whatever comes of the first


def answer_late(daemon: Daemon, prometheus: Prometheus) -> None:
    # Who waits beyond a deadline hears of it from the daemon, also where that stands still just then.
    with Client(daemon.endpoint, timeout=30, grace=30) as client, Callers(client) as callers:
        assert callers.create(1).result()[0] == "OK"
        # Seen before it happens: what came from nothing has no rate.
        until(lambda: prometheus.evaluate('count(utxod_items_total{operation="create", code="OK"}) == 2'))
        with daemon.faults.hang():
            # Time enough for a worker to begin with it.
            assert callers.create(2, timeout=5).result()[:2] == ("DEADLINE_EXCEEDED", "unknown")
    daemon.wait_until(lambda status: status["counters"].get("late"))


def break_things(daemon: Daemon, prometheus: Prometheus) -> None:
    """A store that does not answer in time, three killed workers, and a standstill."""
    daemon.faults.set(kind="time_out", function="setLocked")
    with daemon.client() as client, Callers(client) as callers:
        assert callers.lock(1).result()[:2] == ("STORE_ERROR", "unknown")
    daemon.faults.clear()
    for _ in range(3):
        (worker,) = daemon.workers("read")
        end = End(worker)
        os.kill(worker, signal.SIGKILL)
        assert end.wait(60)
        daemon.wait_until(lambda status, worker=worker: worker not in [each["pid"] for each in status["processes"]])
        daemon.wait_for_workers()
    with daemon.stopped():
        long_enough = time.monotonic() + 1.5 * STANDSTILL_SECONDS
        is_seen = 'count_over_time((up{job="utxod"} == 0)[1m:100ms]) > 12'  # or was, of a scrape on a busy machine
        until(lambda: time.monotonic() > long_enough and prometheus.evaluate(is_seen), within=60)


def not_found(prometheus: Prometheus) -> list[str]:
    """The alerts that these faults are to be, and are not."""
    return sorted(FOUND - {alert["labels"]["alertname"] for alert in prometheus.alerts()})


def empty_or_unnamed(prometheus: Prometheus) -> list[str]:
    """The queries of the dashboard that give no series, or some that their legends can't tell apart."""
    wrong = []
    for query in queries():
        series = prometheus.evaluate(query.expression)
        names = [tuple(sorted((label, each["metric"].get(label)) for label in query.legend)) for each in series]
        is_table = any(metric in query.expression for metric in ("ALERTS", "utxod_info"))
        if not series or any(None in label for name in names for label in name):
            wrong.append(f"{query.panel}: {query.expression} gives {series}")
        elif len(set(names)) < len(names) and not is_table:
            wrong.append(f"{query.panel}: the legends of {series} are the same")
    return wrong


def without_a_word(prometheus: Prometheus) -> list[str]:
    """The rules that would say nothing of this daemon, whatever the limit."""
    judged = {name: _COMPARISON.sub(r"\1 bool", rule["expr"]) for name, rule in alert_rules().items()}
    return [f"{name}: {expression}" for name, expression in judged.items() if not prometheus.evaluate(expression)]


def not_as_in_the_table(prometheus: Prometheus) -> list[str]:
    """The metrics that rules and dashboard go by whose labels are others than the table of families says."""
    metrics = {metric for expression in EXPRESSIONS.values() for metric, _ in selectors(expression)} - {"ALERTS"}
    served = {metric: prometheus.evaluate(metric) for metric in metrics}
    return [
        metric
        for metric, series in served.items()
        if not series or any(each["metric"].keys() - {"__name__"} != KNOWN[metric] for each in series)
    ]


@pytest.mark.skipif(PROGRAM is None, reason="no prometheus here (Debian: prometheus)")
def test_after_some_load_and_faults_every_expression_gives_what_it_is_to(tmp_path: Path) -> None:
    with running_daemon(tmp_path, SETTINGS, "lmdb") as daemon:
        daemon.wait_for_workers()
        address = daemon.status()["metrics"]
        # By two names it is two daemons, which are told apart.
        targets = [address, address.replace("127.0.0.1", "localhost")]
        with running_prometheus(tmp_path, targets, SCRAPES) as prometheus:
            until(lambda: prometheus.evaluate("count(utxod_up == 1) == 2"), within=60)
            answer_late(daemon, prometheus)
            with load(daemon.endpoint, ask, callers=1, timeout=1, pause=0.002):
                break_things(daemon, prometheus)
                assert at_last(functools.partial(not_found, prometheus), [], within=90) == []
                for wrong in (empty_or_unnamed, without_a_word, not_as_in_the_table):
                    # A scrape that comes too late leaves no series until the next one.
                    assert at_last(functools.partial(wrong, prometheus), []) == []
            assert {rule["name"]: rule.get("lastError") for rule in prometheus.rules()} == dict.fromkeys(alert_rules())
            for alert in prometheus.alerts():
                said = alert["annotations"]["summary"]
                print(said)
                assert alert["labels"]["instance"] in said
                assert "<" not in said  # as in <no value>, <error expanding template>
