"""`utxod doctor --live`: what it prints of what it finds, and its exit code."""

import itertools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.load import creating, load
from tests.support.patience import until
from tests.support.reports import changed, report
from tests.support.scripted_daemon import ScriptedDaemon
from utxod.commands import cli
from utxod.diagnosis import WELL
from utxod.diagnosis.findings import BAD_ITEMS
from utxod.own_daemon import own_daemon

# Its one worker is not replaced, however long it gets no processor.
STEADFAST = ("--workers", "1", "--set", "broker.grace_seconds=600")
TROUBLE = {"pools.write.breaker": "open", "pools.write.oldest_seconds": 4.0}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    daemon = ScriptedDaemon(f"ipc://{tmp_path}/u.sock")
    yield daemon
    daemon.stop()


def examined(daemon: ScriptedDaemon, changes: dict[str, Any], *arguments: str) -> Result:
    seconds = itertools.count(600.0)
    daemon.reports = lambda: changed(report(next(seconds)), changes)
    return run("--connect", daemon.endpoint, *arguments)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", "--live", "--for", "0.1", "--timeout", "30", *arguments])


def test_where_all_is_well_each_thing_looked_at_is_named_and_the_exit_code_is_0(daemon: ScriptedDaemon) -> None:
    result = examined(daemon, {})
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["well", name] for name in WELL]


def test_what_is_wrong_stands_first_with_its_remedy_and_its_page_and_the_exit_code_is_1(daemon: ScriptedDaemon) -> None:
    result = examined(daemon, TROUBLE)
    assert result.exit_code == 1
    assert result.stdout.startswith("wrong  UtxodBreakerOpen")
    text = " ".join(result.stdout.split())
    assert "look at the set's disk" in text
    assert "(docs/operations/UtxodBreakerOpen.md)" in text
    assert "follows from UtxodBreakerOpen: mend that first" in text


def test_what_two_pools_have_in_common_is_said_once(daemon: ScriptedDaemon) -> None:
    result = examined(daemon, {"pools.read.breaker": "open", "pools.write.breaker": "open"})
    text = " ".join(result.stdout.split())
    assert "the breaker of the read pool is open" in text
    assert "the breaker of the write pool is open" in text
    assert text.count("wrong UtxodBreakerOpen") == text.count("look at the set's disk") == 1


def test_json_has_what_was_found_why_and_what_to_do(daemon: ScriptedDaemon) -> None:
    found = json.loads(examined(daemon, TROUBLE, "--json").stdout)
    assert {"what", "found", "remedy"} <= set.intersection(*(set(row) for row in found))
    first, second = [row for row in found if row["remedy"]]
    assert (first["what"], first["pool"], first["because"]) == ("UtxodBreakerOpen", "write", "")
    assert "5.0 s" in first["cause"]
    assert (second["what"], second["because"]) == ("UtxodQueueGrowing", "UtxodBreakerOpen")
    assert {row["what"] for row in found} == set(WELL)


def test_where_no_daemon_answers_it_says_how_to_find_out_more_and_the_exit_code_is_4(tmp_path: Path) -> None:
    result = run("--connect", f"ipc://{tmp_path}/nobody.sock", "--timeout", "0.1")
    assert result.exit_code == 4
    assert "no daemon answers" in result.stderr
    assert "UtxodDown: is its process there" in result.stderr
    error = run("--json", "--connect", f"ipc://{tmp_path}/nobody.sock", "--timeout", "0.1")
    assert error.exit_code == 4
    assert json.loads(error.stdout)["error"]["code"] == "NO_ANSWER"


def test_a_set_that_was_moved_is_named_with_what_to_do(tmp_path: Path) -> None:
    """As the store itself says it, in the log."""
    place, moved = tmp_path / "set", tmp_path / "moved"
    store = f"lmdb://{place}?sync=false"
    with own_daemon(store, STEADFAST) as daemon, load(daemon.endpoint, creating(BAD_ITEMS), timeout=30):
        place.rename(moved)

        def says() -> list[str]:
            found = run("--json", "--connect", daemon.endpoint).stdout
            return [row["remedy"] for row in json.loads(found) if row["what"] == "UtxodStoreFailing"]

        until(lambda: any("moved, removed or replaced is to be brought back" in remedy for remedy in says()), 60)
        log = daemon.directory / "daemon.log"
        line = rf"the store failed: {place}/\S+ was moved, removed or replaced.* Bring it back;"
        until(lambda: re.search(line, log.read_text()), 60)
    gone = CliRunner().invoke(cli, ["doctor", "--store", store])
    assert "was it moved or removed? Then bring it back" in " ".join(gone.stdout.split())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_report_with_what_is_no_number_is_an_error_that_names_the_place(daemon: ScriptedDaemon, value: float) -> None:
    for arguments in ((), ("--json",)):
        result = examined(daemon, {"figures.store_seconds.1.sum": value}, *arguments)
        assert result.exit_code == 1
        assert f"report: figures.store_seconds.1.sum is {value}, and no number" in result.stderr
        assert isinstance(result.exception, SystemExit)
    assert json.loads(result.stdout)["error"]["code"] == "INTERNAL"


def test_a_daemon_of_a_version_without_figures_is_told(daemon: ScriptedDaemon) -> None:
    daemon.reports = lambda: {"epoch": 1, "version": "0.0.9"}
    result = run("--connect", daemon.endpoint)
    assert result.exit_code == 1
    assert "0.0.9; restart it" in result.stderr
