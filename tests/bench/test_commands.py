"""Measurements: their form, what makes them fail, and each of them once, where it can be brief."""

import functools
import json
from typing import Any

import pytest
from click.testing import CliRunner

from bench import crash as bench_crash
from bench import overload as bench_overload
from bench import submitters as bench_submitters
from bench import throughput as bench_throughput
from bench.__main__ import bench
from bench.command_line import command
from bench.report import RIGHT, Figure, Report

# What makes each measurement a short one.
BRIEFLY = {
    "throughput": "--rounds 1 --seconds 0.2",
    "accept": "--rounds 1 --transactions 200",
    "figures": "--rounds 1 --seconds 0.2",
    "receipts": "--rounds 1 --seconds 0.2",
    "latency": "--rounds 1 --seconds 0.2",
    "crash": "--kills 2 --stops 1",
    "ledger": "--items 5000 --rounds 1",
    "steady": "--minutes 0.02",
    "overload": "--rounds 1 --seconds 0.3",
}
# What takes a minute at least, and is run by hand: a store must be wedged for a while.
LONG = {"incident"}
# What measures an Aerospike server, where there is one.
SERVER = {"rules"}
# What has a test of its own.
ELSEWHERE = {"peers", "all"}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench_throughput, "COINS_A_ROUND", 2_000)
    monkeypatch.setattr(bench_crash, "_WORKERS", 4)
    monkeypatch.setattr(bench_overload, "_FILLING_SECONDS", 0.3)
    for module in (bench_overload, bench_submitters):
        monkeypatch.setattr(module, "START_SECONDS", 0.5)


@functools.cache
def measured(name: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the report of a brief run; of the same one for every test."""
    result = CliRunner().invoke(bench, [name, "--json", *BRIEFLY[name].split()], catch_exceptions=False)
    return result.exit_code, json.loads(result.output.splitlines()[-1])


def test_a_goal_that_is_missed_is_said_and_is_no_failure():
    report = Report("x", [Figure("slow", [1.0, 2.0, 30.0], "items/s", goal=5)], {RIGHT: True})
    found = report.as_map()
    assert (found["ok"], found["met"]) == (True, False)
    assert found["figures"][0] == {
        "name": "slow", "value": 2.0, "spread": [1.0, 30.0], "unit": "items/s", "goal": 5, "met": False,
        "higher_is_better": True, "ratios": [],
    }  # fmt: skip


def test_a_ratio_is_of_the_same_round_and_has_a_goal_of_its_own():
    report = Report("x")
    report.add([{"ours": 10.0, "limit": 100.0}, {"ours": 90.0, "limit": 300.0}], "items/s", {"ours": {"limit": 0.25}})
    found = report.as_map()
    (ratio,) = found["figures"][0]["ratios"]
    assert (ratio["name"], ratio["value"], ratio["spread"], ratio["unit"]) == ("limit", 0.2, [0.1, 0.3], "x")
    assert (ratio["met"], found["met"], found["ok"]) == (False, False, True)
    assert [limit["value"] for limit in found["limits"]] == [200.0]


def test_a_bound_is_met_below_it():
    assert Figure("quick", [0.5], "ms", goal=0.6, higher_is_better=False).met
    assert not Figure("slow", [0.7], "ms", goal=0.6, higher_is_better=False).met


def test_a_promise_that_broke_once_stays_broken():
    report = Report("x")
    for holds in (True, False, True):
        report.promise(RIGHT, holds)
    assert not report.ok


def test_a_broken_promise_makes_the_exit_code_1(monkeypatch):
    broken = command("broken", lambda: Report("broken", promises={RIGHT: False}), "")
    monkeypatch.setitem(bench.commands, "broken", broken)
    assert CliRunner().invoke(bench, ["broken"]).exit_code == 1


def test_each_measurement_is_tried_here():
    assert BRIEFLY.keys() | LONG | SERVER | ELSEWHERE == bench.commands.keys()


@pytest.mark.parametrize("name", BRIEFLY)
def test_each_measurement_ends_with_one_json_object_and_finds_its_promises_kept(name):
    exit_code, found = measured(name)
    assert exit_code == 0
    assert found["ok"]
    assert all(found["promises"].values())
    # None is what a busy machine had nothing of. Memory may have become less.
    assert not any(figure["value"] < 0 for figure in found["figures"] if "growth" not in figure["name"])
    assert any(figure["value"] > 0 for figure in found["figures"])


@pytest.mark.parametrize("name", ["throughput", "latency", "accept"])
def test_every_figure_stands_beside_a_limit_that_the_same_run_measured(name):
    _, found = measured(name)
    limits = {limit["name"]: limit["value"] for limit in found["limits"]}
    assert all(value > 0 for value in limits.values())
    for figure in found["figures"]:
        assert figure["ratios"]
        assert {ratio["name"] for ratio in figure["ratios"]} <= limits.keys()
        assert all(ratio["value"] > 0 for ratio in figure["ratios"])
