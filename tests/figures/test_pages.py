"""What is served, by its path: what a scraper, a probe and a browser each want of it."""

import re

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from protocol import NoAnswer, codes
from protocol.wire import Error
from tests.support.reports import changed, report
from utxod.figures.asking import Asker, Report
from utxod.figures.pages import pages


def silent() -> Report:
    raise NoAnswer(Error(codes.NO_ANSWER, codes.NO, "nobody there"))


def test_metrics_come_in_the_format_that_a_scraper_accepts() -> None:
    metrics = pages(Asker(report))["/metrics"]
    plain = metrics("")
    assert plain.kind.startswith("text/plain")
    assert b"# TYPE utxod_up gauge" in plain.body
    new = metrics("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert new.kind.startswith("application/openmetrics-text")
    assert "utxod_items" in {family.name for family in parse_openmetrics(new.body.decode())}


@pytest.mark.parametrize(
    ("changes", "live", "ready"),
    [({}, 200, 200), ({"draining": True}, 200, 503), ({"pools.read.workers": 0}, 200, 503)],
)
def test_health_is_in_the_status(changes: dict[str, object], live: int, ready: int) -> None:
    served = pages(Asker(lambda: changed(report(), changes)))
    assert (served["/health/live"]("").status, served["/health/ready"]("").status) == (live, ready)


def test_a_daemon_that_does_not_answer_fails_each_probe_and_no_scrape() -> None:
    statuses = {path: page("").status for path, page in pages(Asker(silent)).items()}
    assert statuses == {"/": 200, "/metrics": 200, "/health/live": 503, "/health/ready": 503, "/report.json": 503}


def test_the_page_names_nothing_outside_itself_and_its_policy_lets_nothing_else_in() -> None:
    page = pages(Asker(silent))["/"]("")
    text = page.body.decode()
    namespace = "http://www.w3.org/2000/svg"
    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^'\" ]*", text)) <= {namespace}
    assert not re.search(r"<link(?! rel=\"icon\" href=\"data:)|<script |\son\w+=|\sstyle=", text)
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for source in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[\w+/=]{44}'", policy[source])
