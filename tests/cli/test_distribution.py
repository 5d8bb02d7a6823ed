"""The daemon's distribution: what is installed, what is not, and what it says of itself."""

import email
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import utxod

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (wheel,) = built.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_holds_the_daemon_and_neither_tests_nor_measurements(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert top == {"broker", "protocol", "store", "supervisor.py", "utxod", "workers"}


def test_every_file_that_a_room_needs_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    rooms = ("broker", "protocol", "store", "utxod", "workers")
    present = {str(path.relative_to(ROOT)) for room in rooms for path in (ROOT / room).rglob("*.*")}
    needed = {name for name in present if "__pycache__" not in name}
    assert needed - set(wheel.namelist()) == {"protocol/pyproject.toml", "protocol/README.md"}


def test_the_sdist_holds_what_its_own_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames()}
    assert top >= {"tests", "bench", "docs", "bootstrap.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    assert not top & {".venv", "dist", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def test_its_metadata_names_the_pythons_that_it_is_tried_on(metadata: Message) -> None:
    versions = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("Programming Language :: Python :: 3.")
    ]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert versions
    assert f"python: {versions}".replace("'", '"') in workflow
    assert metadata["Requires-Python"] == f">={versions[0]}"
    assert metadata["Version"] == utxod.__version__
