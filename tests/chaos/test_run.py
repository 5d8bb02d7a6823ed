"""A short run of chaos: real processes, each kind of breaking planned, and no promise broken with what came of it.

How much of a plan a run has time for is the machine's business: one that is busy with other work may do little of it;
and its callers may see an answer late that came in time, which is held against a machine's own measure elsewhere.
"""

import json

from click.testing import CliRunner

from tests.chaos.__main__ import COMMAND
from tests.chaos.nemesis import EMBEDDED_RATES, RATES, SERVER_RATES, plan
from tests.chaos.run import IN_TIME
from tests.support.patience import SOON

SEED, MINUTES = 2, 0.2


def test_no_promise_breaks_whatever_else_does():
    arguments = ["--minutes", str(MINUTES), "--seed", str(SEED), "--json"]
    result = CliRunner().invoke(COMMAND, arguments, catch_exceptions=False)
    found = json.loads(result.stdout.splitlines()[-1])
    print(result.output)
    assert [promise for promise, holds in found["promises"].items() if not holds and promise != IN_TIME] == []
    figures = {figure["name"]: figure["value"] for figure in found["figures"]}
    assert figures["slowest answer, over its deadline"] < SOON * 1000
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
