"""The simulator's command: what it reports, and that it ends well where no promise broke."""

import json

import pytest
from click.testing import CliRunner

from tests.simulation import command
from tests.simulation.__main__ import COMMAND


@pytest.mark.parametrize("arguments", [[], ["--records"]])
def test_a_few_runs_keep_every_promise_and_find_the_planted_bugs(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bugs, that is: each has a test of its own."""
    for name in ("MUTANTS", "SIMULATED"):
        monkeypatch.setattr(command, name, dict(list(getattr(command, name).items())[-3:]))
    arguments = [*arguments, "--seeds", "20", "--processes", "1", "--json"]
    result = CliRunner().invoke(COMMAND, arguments, catch_exceptions=False)
    found = json.loads(result.output.splitlines()[-1])
    assert result.exit_code == 0
    assert len(found["promises"]) == 2
    assert all(found["promises"].values())
    assert sum(figure["name"].startswith("planted bug") for figure in found["figures"]) == 3
    runs = found["figures"][0]
    assert (runs["name"], runs["value"], runs["unit"], runs["met"]) == ("runs", 20, "runs", True)


def test_one_seed_prints_its_events() -> None:
    result = CliRunner().invoke(COMMAND, ["--seed", "7", "--trace"], catch_exceptions=False)
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 100
