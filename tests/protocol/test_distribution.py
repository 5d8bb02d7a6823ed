"""The light distribution: `protocol/` alone, as `utxod-client`, in an environment that has nothing else of ours."""

import email
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import utxod
from utxod.own_daemon import own_daemon

ROOT = Path(__file__).parents[2]
TALK = """
import asyncio, sys
from utxod_client import AsyncClient, Client, Outpoint
with Client(sys.argv[1], timeout=60) as client:
    client.status()
    outcomes = client.outpoint_many([(bytes(32), 0), (bytes(32), 1)])
    assert {outcome.code for outcome in outcomes} <= {"OK", "TX_NOT_FOUND"}, outcomes
    assert client.retry(client.status, within=30.0)["epoch"] == client.submit(client.status).result()["epoch"]
    assert sum(outcome.ok for outcome in client.iter_many(client.get_many, [bytes(32)] * 3)) == 0
async def main():
    async with AsyncClient(sys.argv[1], timeout=60) as client:
        (outcome,) = await client.get_many([bytes(32)])
        assert outcome.code in ("OK", "TX_NOT_FOUND"), outcome
        assert await client.retry(client.status, within=30.0)
        assert [outcome.ok async for outcome in client.iter_many(client.get_many, [bytes(32)])] == [False]
asyncio.run(main())
loaded = sorted(name for name in ("protocol", "store", "broker", "workers", "supervisor") if name in sys.modules)
assert not loaded, loaded
print("answered")
"""


def run(*command: str | Path, **options) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, check=False, **options)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT / "protocol")
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


def test_the_sdist_and_the_wheel_built_from_it_carry_the_licence(built, wheel):
    licence = (ROOT / "LICENSE").read_bytes()
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        (name,) = [name for name in archive.getnames() if name.endswith("/LICENSE")]
        member = archive.getmember(name)
        assert member.isreg()  # a link would lead out of the archive
        assert archive.extractfile(member).read() == licence
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    assert archive.read(name) == licence
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    assert email.message_from_bytes(archive.read(metadata)).get_all("License-File") == ["LICENSE"]


def test_the_wheel_holds_the_client_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"utxod_client"}
    assert "utxod_client/py.typed" in names
    assert not {"utxod_client/worker_link.py", "utxod_client/worker_wire.py"} & set(names)


def test_every_module_the_client_imports_is_in_the_wheel(wheel):
    packed = {name.removeprefix("utxod_client/") for name in zipfile.ZipFile(wheel).namelist()}
    present = {str(path.relative_to(ROOT / "protocol")) for path in (ROOT / "protocol").rglob("*.py")}
    assert present - packed == {"worker_link.py", "worker_wire.py"}


def test_it_needs_pyzmq_and_msgpack_only_and_has_the_daemons_version(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(archive.read(name))
    needs = {need.split(">")[0] for need in metadata.get_all("Requires-Dist", [])}
    assert needs == {"msgpack", "pyzmq"}
    assert metadata["Version"] == utxod.__version__


def test_installed_in_an_empty_environment_it_talks_to_a_daemon(wheel, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    with own_daemon() as daemon:
        assert run(python, "-I", "-c", TALK, daemon.endpoint, cwd=tmp_path).strip() == "answered"
