"""deploy/Containerfile: the official parser reads it, what it copies is there and makes the whole wheel, and what it
names (commands, ports, paths, variables) is the daemon's."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from broker.daemon_settings import Settings
from tests.support.daemon import ROOT
from utxod.commands import cli
from utxod.settings import describe, load_settings

dockerfile = pytest.importorskip("dockerfile", reason="its parser has no wheel for this machine")

CONTAINERFILE = ROOT / "deploy" / "Containerfile"
INSTRUCTIONS = {
    *("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER"),
    *("VOLUME", "WORKDIR"),
}


@dataclasses.dataclass
class Stage:
    """From one FROM to the next."""

    base: str
    commands: list[Any]

    def every(self, name: str) -> list[tuple[str, ...]]:
        return [command.value for command in self.commands if command.cmd.upper() == name]

    def the(self, name: str) -> tuple[str, ...]:
        (value,) = self.every(name)
        return value

    @property
    def copied(self) -> list[str]:
        """Of what is beside the Containerfile, not of another stage."""
        copies = [command for command in self.commands if command.cmd.upper() == "COPY" and not command.flags]
        return [source for command in copies for source in command.value[:-1]]

    @property
    def environment(self) -> dict[str, str]:
        words = [word for value in self.every("ENV") for word in value]
        return dict(zip(words[::2], words[1::2], strict=True))


def stages() -> list[Stage]:
    found: list[Stage] = []
    for command in dockerfile.parse_file(str(CONTAINERFILE)):
        if command.cmd.upper() == "FROM":
            found.append(Stage(command.value[0], []))
        elif found:
            found[-1].commands.append(command)
    return found


@pytest.fixture(scope="module")
def build() -> Stage:
    return stages()[0]


@pytest.fixture(scope="module")
def image() -> Stage:
    return stages()[-1]


def test_it_has_no_instruction_that_there_is_not() -> None:
    assert {command.cmd.upper() for command in dockerfile.parse_file(str(CONTAINERFILE))} <= INSTRUCTIONS


def test_it_stands_on_one_python_whose_version_is_named_and_supported() -> None:
    (python,) = [command.value[0] for command in dockerfile.parse_file(str(CONTAINERFILE)) if command.cmd == "ARG"]
    assert {stage.base for stage in stages()} == {"${PYTHON}"}
    version = re.fullmatch(r"PYTHON=docker\.io/library/python:(3\.\d+)-slim-\w+", python)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


def test_all_that_it_copies_is_there_and_gets_past_the_ignored(build: Stage, image: Stage) -> None:
    """.dockerignore: the last line that matches decides."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    lines = [line for line in ignored if line and not line.startswith("#")]
    copied = [name.rstrip("/") for name in build.copied + image.copied]
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        matching = [line for line in lines if fnmatch(name, line.lstrip("!"))]
        assert matching[-1].startswith("!")


def wheel_of(place: Path, out: Path) -> set[str]:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_what_it_copies_makes_the_whole_wheel(build: Stage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in build.copied:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    assert wheel_of(source, tmp_path / "of the copies") == wheel_of(ROOT, tmp_path / "of all")


def test_it_runs_as_nobody_that_there_is_and_without_a_shell(image: Stage) -> None:
    user, group = image.the("USER")[0].split(":")
    assert int(user) >= 10_000
    assert int(group) >= 10_000
    forms = {command.cmd.upper(): command.json for command in image.commands}
    assert forms["ENTRYPOINT"]
    assert forms["CMD"]
    assert forms["HEALTHCHECK"]
    (made,) = image.every("RUN")
    assert f"install -d -o {user} -g {group}" in made[0]


def test_its_commands_are_there(image: Stage) -> None:
    assert image.the("ENTRYPOINT") == ("utxod",)
    (served,) = image.the("CMD")
    check, program, asked, *options = image.the("HEALTHCHECK")
    assert (check, program) == ("CMD", "utxod")
    assert {served, asked} <= cli.commands.keys()
    known = {name for parameter in cli.commands[asked].params for name in parameter.opts}
    assert set(options[::2]) <= known
    assert image.the("STOPSIGNAL") == ("SIGTERM",)


def test_its_settings_are_in_a_file_that_another_may_be_put_over(image: Stage) -> None:
    """A variable of the image would go before a file of who runs it."""
    environment = image.environment
    assert not {setting.variable for setting in describe(Settings())} & environment.keys()
    (copied,) = [value for value in image.every("COPY") if value[-1] == environment["UTXOD_CONFIG"]]
    settings = load_settings(Settings, ROOT / copied[0], environment)
    assert environment["UTXOD_CONNECT"] in settings.listen
    (made,) = image.every("RUN")
    directories = set(made[0].split())
    assert {
        "/run/utxod",
        "/var/lib/utxod",
        settings.state,
        str(Path(settings.store.removeprefix("lmdb://")).parent),
    } <= (directories)
    assert set(image.the("VOLUME")) <= directories
    ports = {address.rpartition(":")[2] for address in (*settings.listen, settings.metrics) if "://" not in address}
    ports |= {endpoint.rpartition(":")[2] for endpoint in settings.listen if endpoint.startswith("tcp://")}
    assert set(image.the("EXPOSE")) == ports


def test_its_settings_serve(tmp_path: Path) -> None:
    """The very file, but for its places, in an environment with nothing in it."""
    file = tmp_path / "utxod.toml"
    text = (ROOT / "deploy" / "container.toml").read_text()
    for directory in ("/var/lib/utxod", "/run/utxod"):
        text = text.replace(directory, str(tmp_path / Path(directory).name / Path(directory).parent.name))
    file.write_text(re.sub(r":94\d\d", ":0", text))
    command = [sys.executable, "-m", "utxod", "serve"]
    environment = {"PATH": os.environ["PATH"], "UTXOD_CONFIG": str(file)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as daemon:
        assert daemon.stderr is not None
        said = next(line for line in daemon.stderr if "serving at" in line or "CRITICAL" in line)
        daemon.terminate()
        daemon.stderr.read()
    assert "serving at ipc://" in said
    assert "tcp://*:" in said
    assert daemon.returncode == 0
