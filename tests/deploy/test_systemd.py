"""deploy/utxod.service: what it starts is there, its daemon has what its settings name, and it is shut in. What of this
systemd can say by itself, it is asked for."""

import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from broker.daemon_settings import Settings
from tests.support.daemon import ROOT
from utxod.commands import cli
from utxod.settings import load_settings

UNIT = ROOT / "deploy" / "utxod.service"
SETTINGS = ROOT / "deploy" / "utxod.toml"
CONFIG = "/etc/utxod.toml"
ANALYZE = shutil.which("systemd-analyze") or ""
# In tenths: 3.0.
EXPOSED_AT_MOST = "30"

with_systemd = pytest.mark.skipif(not ANALYZE, reason="there is no systemd-analyze here")


def directives() -> dict[str, list[str]]:
    """What the unit sets, in its order."""
    found = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return found


def the(name: str) -> str:
    (value,) = directives()[name]
    return value


def settings() -> Settings:
    return load_settings(Settings, SETTINGS, {})


def exposure(unit: Path) -> "subprocess.CompletedProcess[str]":
    command = [ANALYZE, "security", "--offline=yes", f"--threshold={EXPOSED_AT_MOST}", "--no-pager", str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def verify(unit: Path) -> str:
    """What systemd has against it; of others that it names, nothing."""
    done = subprocess.run([ANALYZE, "verify", str(unit)], capture_output=True, text=True, check=False)
    return "".join(line for line in done.stderr.splitlines(keepends=True) if unit.name in line)


@with_systemd
def test_what_it_is_exposed_to_is_little() -> None:
    done = exposure(UNIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level for utxod.service" in done.stdout


@with_systemd
def test_the_measure_of_exposure_tells_one_that_is_not_shut_in(tmp_path: Path) -> None:
    open_one = tmp_path / UNIT.name
    open_one.write_text(UNIT.read_text().partition("NoNewPrivileges=")[0])
    assert exposure(open_one).returncode != 0


@with_systemd
def test_systemd_takes_it_as_it_is_and_would_not_take_what_it_does_not_know(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    text = UNIT.read_text().replace(the("ExecStart").split()[0], sys.executable)
    unit.write_text(text)
    assert verify(unit) == ""
    unit.write_text(text.replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in verify(unit)


def test_what_it_starts_is_there() -> None:
    program, command, *options = the("ExecStart").split()
    assert Path(program).name == "utxod"
    assert options == ["--config", CONFIG]
    assert "--config" in {name for parameter in cli.commands[command].params for name in parameter.opts}


def test_a_reload_finds_the_daemon() -> None:
    program, command = the("ExecReload").split()
    assert program == the("ExecStart").split()[0]
    assert command in cli.commands
    name, _, endpoint = the("Environment").partition("=")
    assert name == "UTXOD_CONNECT"
    assert endpoint in settings().listen


def test_its_daemon_has_the_directories_that_its_settings_name() -> None:
    asked, state, runtime = settings(), f"/var/lib/{the('StateDirectory')}", f"/run/{the('RuntimeDirectory')}"
    assert SETTINGS.read_text().startswith(f"# {CONFIG}:")
    assert asked.store.removeprefix("lmdb://").startswith(f"{state}/")
    assert asked.state == state
    assert [Path(endpoint.removeprefix("ipc://")).parent for endpoint in asked.listen] == [Path(runtime)]
    assert asked.metrics.startswith("127.0.0.1:")


def test_a_drain_has_its_time() -> None:
    assert int(the("TimeoutStopSec")) > settings().drain_seconds + 10
    assert (the("Type"), the("KillMode")) == ("notify", "mixed")


def test_a_daemon_that_stands_still_ends_at_the_watchdogs_signal() -> None:
    """It takes no other (tests/daemon/test_signals.py)."""
    assert the("WatchdogSignal") == "SIGKILL"
    assert 5 <= int(the("WatchdogSec")) <= 60
    assert the("Restart") == "on-failure"
