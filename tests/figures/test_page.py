"""The page to look at, in a real browser: it shows what the daemon reports, live, and asks nobody else."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from protocol import codes
from tests.support.browser import NEEDS_CHROMIUM, Watched, running_browser
from tests.support.callers import HEIGHT, OUTPUT
from tests.support.daemon import running_daemon
from tests.support.figures_process import FIGURES, address_of, serving
from tests.support.reports import changed, report
from utxod.figures import asking
from utxod.figures.asking import Asker
from utxod.figures.pages import pages
from utxod.interval import Histogram

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as browser:
        yield browser


@contextmanager
def shown(browser: Any, *reports: Mapping[str, Any], width: int = 1280) -> Iterator[Watched]:
    """The page of a daemon that answers with these reports, one after the other, and goes on with the last."""
    left = list(reports)
    asker = Asker(lambda: left.pop(0) if len(left) > 1 else left[0])
    with serving(pages(asker)) as (host, port):
        watched = Watched(browser, f"http://{host}:{port}/", width)
        try:
            yield watched
        finally:
            watched.page.close()


def expect_quiet(watched: Watched) -> None:
    """It has asked its own server alone, and has nothing to complain about."""
    assert {url.removeprefix(watched.url) for url in watched.asked if not url.startswith("data:")} == {
        "",
        "report.json",
    }
    assert watched.complaints == []


def expect_quiet_but_for_standstills(watched: Watched) -> None:
    """As the page of a real daemon is, which a busy machine may have starved for two seconds: the browser says so."""
    watched.complaints[:] = [each for each in watched.complaints if "status of 503" not in each]
    expect_quiet(watched)


def test_it_shows_a_real_daemon_live_and_says_when_it_is_gone(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_daemon(tmp_path_factory.mktemp("page"), FIGURES, "lmdb") as daemon:
        daemon.wait_for_workers()
        watched = Watched(browser, "http://{}:{}/".format(*address_of(daemon)))
        watched.wait_for("#state", "serving")
        with daemon.client(timeout=30) as client:
            client.create_partial(os.urandom(32), OUTPUT, block_height=HEIGHT)
            watched.wait_until("Number(document.querySelector('#answered .value').textContent) > 0")
        watched.wait_for("#codes", "OK")
        watched.wait_for("#operations", "create")
        [worker] = daemon.workers("write")
        watched.wait_for("#workers", str(worker))
        assert str(daemon.process.pid) in watched.text("#about")
        expect_quiet_but_for_standstills(watched)

        os.kill(worker, signal.SIGKILL)
        watched.wait_for("#daemon", "1 crashed")
        watched.wait_until(f"!document.querySelector('#workers').textContent.includes('{worker}')")
        expect_quiet_but_for_standstills(watched)

        with daemon.stopped():
            watched.wait_for("#findings", "The daemon has not answered since")
            assert "create" in watched.text("#operations")
        watched.wait_until("!document.body.classList.contains('stale')")
        daemon.kill()
        watched.wait_for("#findings", "Nobody answers at this address")
        assert watched.text("#state") == "no answer"
        assert "create" in watched.text("#operations")
        watched.page.close()


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "serving", "All is well"),
        ({"draining": True}, "draining", "Shutting down"),
        ({"pools.write.workers": 0, "pools.write.idle": 0}, "not ready", "Not ready: write"),
        ({"pools.write.breaker": "open"}, "trouble", "Breaker open: write"),
    ],
)
def test_it_says_in_words_how_the_daemon_is(browser: Any, changes: dict[str, Any], state: str, words: str) -> None:
    with shown(browser, changed(report(), changes)) as watched:
        watched.wait_for("#state", state)
        watched.wait_for("#findings", words)
        expect_quiet(watched)


def test_a_pool_without_a_worker_just_now_is_not_well(browser: Any) -> None:
    """Where it had one a moment ago: the doctor finds nothing yet."""
    with shown(browser, report()) as watched:
        watched.wait_for("#state", "serving")
        bereft = changed(report(601), {"pools.write.workers": 0, "pools.write.idle": 0})
        shows = "report => { showReport(report); return [$('#state').textContent, $('#findings').textContent]; }"
        found = watched.page.evaluate(shows, {**bereft, "epoch": "1", "asked_at": 1000.0, "findings": []})
        assert found[0] == "not ready"
        assert "No worker just now: write" in found[1]


def test_rates_are_those_between_two_reports(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 items a second, a tenth of them follow-ups that nobody is answered; 1.4 % are rejected."""
    monkeypatch.setattr(asking, "SHARED_SECONDS", 0.0)
    with shown(browser, report(600, 1000), report(601, 1000 * 600 / 601 + 10_000 / 601)) as watched:
        watched.wait_for("#answered .value", "9,000")
        rejected, faults = (
            watched.page.evaluate(f"new Between(reports[0], reports[1]).grown(answeredAs('{kind}'))")
            for kind in ("rejected", "faults")
        )
        assert (rejected, faults) == (126, 9)
        expect_quiet(watched)


def test_a_clock_that_is_set_spoils_no_rate_and_no_chart(browser: Any) -> None:
    """Time of day is for people: rates go by how long the daemon is up, charts by how long the page is looked at."""
    asked_at = [1000.0, 1001.0, -2600.0, -2599.0, 9000.0, 9001.0]
    steps = [report(600 + step) | {"asked_at": at, "findings": []} for step, at in enumerate(asked_at)]
    with shown(browser, report()) as watched:
        watched.wait_for("#state", "serving")
        found = watched.page.evaluate(
            """steps => {
                reports.length = points.length = 0;
                steps.forEach(showReport);
                return {
                    rates: points.slice(1).map(point => point.answered), places: points.map(across),
                    shown: $("#answered .value").textContent, since: $("#throughput .times").textContent,
                };
            }""",
            [{**step, "epoch": "1"} for step in steps],
        )
        assert found["rates"] == pytest.approx([18_000] * 5)
        assert found["shown"] == "18,000"
        assert found["places"] == sorted(found["places"])
        assert found["places"][0] >= 0
        assert found["since"].startswith("1 min ago")
        expect_quiet(watched)


def test_its_quantiles_are_those_of_the_doctor(browser: Any) -> None:
    bounds = [0.001, 0.01, 0.1, 1.0]
    with shown(browser, report()) as watched:
        for counts in ([0, 0, 0, 0, 1], [1, 0, 0, 0, 0], [5, 10, 80, 5, 0], [0, 0, 7, 0, 3]):
            for share in (0.5, 0.9, 0.99):
                found = watched.page.evaluate(f"quantile({bounds}, {counts}, {share})")
                wanted = Histogram(bounds, counts, 0.0).quantile(share)
                assert found == pytest.approx(wanted) or (found == float("inf") and wanted == bounds[-1])
        assert watched.page.evaluate(f"quantile({bounds}, [0, 0, 0, 0, 0], 0.5)") is None


def test_it_knows_faults_from_rejections_as_the_protocol_does(browser: Any) -> None:
    with shown(browser, report()) as watched:
        assert set(watched.page.evaluate("[...FAULTS]")) == codes.FAULTS


@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits(browser: Any, width: int) -> None:
    troubled = changed(
        report(),
        {
            "pools.write.breaker": "open",
            "pools.write.queued": 199_999,
            "store": "lmdb:///" + "a-long-directory/" * 10,
            "listen": ["tcp://127.0.0.1:9463"] * 9,
        },
    )
    with shown(browser, troubled, width=width) as watched:
        watched.wait_for("#state", "trouble")
        assert watched.page.evaluate("document.documentElement.scrollWidth") == width
        expect_quiet(watched)


def test_what_a_report_says_is_text_and_nothing_else(browser: Any) -> None:
    nasty = "<img src=x onerror=alert(1)>"
    with shown(browser, changed(report(), {"version": nasty, "state": nasty, "processes.0.state": nasty})) as watched:
        watched.wait_for("#daemon", nasty)
        assert watched.page.locator("img").count() == 0
        expect_quiet(watched)
