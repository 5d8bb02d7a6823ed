"""`utxod doctor --live` names the right fault each time, at a real daemon, and none where all is well."""

import json
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from tests.pictures.listing import KINDS, MOST_BYTES, PICTURES, listed
from tests.pictures.scenes import SCENES, STORE_FAILS, WELL, Scene
from tests.support.daemon import Daemon
from utxod.commands import cli

# How long the daemon is watched: the slow store is to have given an answer by then.
_SECONDS = {"store-slow": 2.5}
# What befalls processes that get no processor for some seconds, and passes; and while callers get none, a fault shows
# nothing. As many looks as outlast that.
_OF_A_BUSY_MACHINE: Final = {"UtxodStandstill", "UtxodStoreSlow", "UtxodQueueGrowing", "UtxodWorkersDying"}
_LOOKS: Final = 20

Findings = list[dict[str, str]]


def examined(endpoint: str, seconds: float = 1.0) -> Findings:
    """What is wrong."""
    asked = ["--for", str(seconds), "--timeout", "30", "--connect", endpoint]
    result = CliRunner().invoke(cli, ["doctor", "--live", "--json", *asked])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    wrong = [found for found in json.loads(result.stdout) if found["remedy"]]
    assert result.exit_code == bool(wrong)
    return wrong


def causes(found: Findings) -> set[str]:
    """Those that follow from nothing else."""
    return {row["what"] for row in found if not row["because"]}


def seen(scene: Scene, daemon: Daemon) -> Findings:
    """What is found wrong, once that is the scene's own, or what a busy machine does not explain."""
    wanted = {scene.finding} - {""}
    for _ in range(_LOOKS):
        found = examined(daemon.endpoint, _SECONDS.get(scene.name, 1.0))
        print(found)
        if causes(found) == wanted or not causes(found) - wanted <= _OF_A_BUSY_MACHINE:
            break
    return found


@pytest.mark.parametrize("scene", [*SCENES, STORE_FAILS], ids=lambda scene: scene.name)
def test_doctor_names_the_cause_of_each_fault(scene: Scene, tmp_path: Path) -> None:
    with scene.running(tmp_path) as daemon:
        found = seen(scene, daemon)
    assert causes(found) == {scene.finding}
    assert found[0]["what"] == scene.finding


def test_doctor_finds_nothing_wrong_with_a_daemon_under_load(tmp_path: Path) -> None:
    with WELL.running(tmp_path) as daemon:
        assert seen(WELL, daemon) == []
        shown = CliRunner().invoke(cli, ["top", "--interval", "1", "--timeout", "30", "--connect", daemon.endpoint])
        assert shown.exit_code == 0
        assert "create" in shown.output


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scene", [WELL, *SCENES], ids=lambda scene: scene.name)
def test_there_is_a_picture_of_each_scene_not_too_large(scene: Scene, kind: str) -> None:
    assert 0 < (PICTURES / f"{scene.name}-{kind}.png").stat().st_size <= MOST_BYTES


def test_the_document_shows_every_picture_there_is_and_no_other() -> None:
    assert (PICTURES / "README.md").read_text() == listed([WELL, *SCENES])
    there = {f"{scene.name}-{kind}.png" for scene in [WELL, *SCENES] for kind in KINDS}
    assert {file.name for file in PICTURES.glob("*.png")} == there
