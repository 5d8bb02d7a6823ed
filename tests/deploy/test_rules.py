"""The alert rules: each fires when it is to, stays silent otherwise, and says where, what, and what to do."""

import subprocess
from pathlib import Path

import pytest

from tests.support.prometheus import DEPLOY, PROMTOOL, alert_rules, numbers, selectors
from utxod.diagnosis import DOWN
from utxod.diagnosis import findings as found
from utxod.diagnosis.findings import FOLLOWS

ROOT = Path(__file__).parents[2]
TESTS = sorted((Path(__file__).parent / "rules").glob("*.yml"))
RULES = alert_rules()

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian: prometheus)")


def promtool(*arguments: object) -> str:
    assert PROMTOOL
    run = subprocess.run([PROMTOOL, *map(str, arguments)], check=False, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@needs_promtool
def test_prometheus_takes_its_config_and_the_rules() -> None:
    said = promtool("check", "config", "--lint=all", "--lint-fatal", DEPLOY / "prometheus" / "prometheus.yml")
    assert f"{len(RULES)} rules found" in said


@needs_promtool
@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.stem)
def test_it_fires_when_it_is_to_and_stays_silent_otherwise(test: Path) -> None:
    promtool("test", "rules", test)


def test_every_rule_has_such_a_test() -> None:
    assert [test.stem for test in TESTS] == sorted(RULES)


@pytest.mark.parametrize("name", RULES)
def test_it_waits_and_tells_where_what_and_what_to_do(name: str) -> None:
    rule = RULES[name]
    assert rule["for"] not in ("0s", "0m")
    assert rule["labels"]["severity"] in ("critical", "warning")
    said = rule["annotations"]
    assert said["summary"].count("$labels.instance") == 1
    assert "$value" in said["summary"] or numbers(said["summary"]) or name == DOWN
    assert said["description"].endswith(".")
    assert said["runbook"] == f"docs/operations/{name}.md"


def test_the_daemon_itself_finds_the_same_by_its_reports() -> None:
    assert set(RULES) == {DOWN, *FOLLOWS}


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("UtxodRefusing", {found.BAD_SHARE, found.BAD_ITEMS}),
        ("UtxodQueueGrowing", {found.QUEUE_OLD_SECONDS}),
        ("UtxodDeadlinesMissed", {found.BAD_SHARE, found.BAD_ITEMS}),
        ("UtxodStoreSlow", {found.STORE_SLOW_SECONDS}),
        ("UtxodStoreFailing", {found.BAD_SHARE, found.BAD_ITEMS}),
        ("UtxodBatchesSmall", {found.SMALL_BATCH, found.QUEUE_OLD_SECONDS}),
        ("UtxodWorkersDying", {found.DYING_EXITS}),
        ("UtxodDescriptorsShort", {found.DESCRIPTORS_SHARE, found.DESCRIPTORS_LEFT}),
        ("UtxodOwedGrowing", {found.OWED_SHARE}),
        ("UtxodUndeliverable", {found.BAD_SHARE, found.BAD_ITEMS}),
    ],
)
def test_the_limits_are_those_that_the_daemon_itself_judges_by(name: str, limits: set[float]) -> None:
    assert limits <= numbers(RULES[name]["expr"])


def test_a_standstill_is_what_the_daemon_itself_takes_for_one() -> None:
    bounds = {selector.matchers.get("le") for selector in selectors(RULES["UtxodStandstill"]["expr"])}
    assert bounds == {None, str(found.STANDSTILL_SECONDS)}
