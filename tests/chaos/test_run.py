"""A short run of chaos: real processes, each kind of breaking planned, and no promise broken with what came of it.

How much of a plan a run has time for is the machine's business: one that is busy with other work may do little of it.
"""

import json

from click.testing import CliRunner

from tests.chaos.__main__ import COMMAND
from tests.chaos.nemesis import EMBEDDED_RATES, RATES, SERVER_RATES, plan

SEED, MINUTES = 32, 0.4


def test_no_promise_breaks_whatever_else_does():
    arguments = ["--minutes", str(MINUTES), "--seed", str(SEED), "--json"]
    result = CliRunner().invoke(COMMAND, arguments, catch_exceptions=False)
    found = json.loads(result.stdout.splitlines()[-1])
    print(result.output)
    assert result.exit_code == 0
    assert found["ok"]
    assert all(found["promises"].values())
    figures = {figure["name"]: figure["value"] for figure in found["figures"]}
    assert figures["calls"] > 0
    planned = {breakage.name for breakage in plan(SEED, MINUTES * 60, RATES | EMBEDDED_RATES)}
    assert {"kill", "stop", "wedge", "kill_daemon", "kill_client"} <= planned
    broken = found["details"]["broken"]
    assert broken
    assert broken.keys() <= planned


def test_ten_minutes_break_what_they_are_to_break():
    rates = RATES | EMBEDDED_RATES | SERVER_RATES
    planned = plan(seed=1, seconds=600, rates=rates)
    counts = {name: sum(breakage.name == name for breakage in planned) for name in rates}
    assert counts["kill"] >= 120
    assert counts["stop"] >= 25
    assert counts["wedge"] >= 8
    assert min(counts.values()) >= 2
    assert planned == plan(seed=1, seconds=600, rates=rates) != plan(seed=2, seconds=600, rates=rates)
