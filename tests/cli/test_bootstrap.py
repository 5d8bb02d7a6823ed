"""The bootstrap: makes an environment once, mends a half made one, and says what is missing.

Tried on a small project of its own, which needs no packages and so no network.
"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pip
import pytest

BOOTSTRAP = Path(__file__).resolve().parents[2] / "bootstrap.py"
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
# The least that pip takes for a build backend: a wheel with one script, `utxod`, that prints its arguments.
BACKEND = """
import zipfile

def build_editable(directory, config_settings=None, metadata_directory=None):
    name = "utxod-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("utxod_probe.py", "import sys\\ndef main():\\n    print(sys.argv[1:]); sys.exit(7)\\n")
        for file, text in {
            "METADATA": "Metadata-Version: 2.1\\nName: utxod\\nVersion: 1\\n",
            "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
            "entry_points.txt": "[console_scripts]\\nutxod = utxod_probe:main\\n",
            "RECORD": "",
        }.items():
            wheel.writestr(f"utxod-1.dist-info/{file}", text)
    return name
"""


@pytest.fixture
def checkout(tmp_path):
    shutil.copy(BOOTSTRAP, tmp_path)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "backend.py").write_text(BACKEND)
    return tmp_path


def bootstrap(checkout, *arguments, **environment):
    return subprocess.run(
        [sys.executable, checkout / "bootstrap.py", *arguments],
        env=os.environ | environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def quick(tmp_path_factory):
    """Variables with which an environment is made without pip, which is what takes long, and uses the pip of this."""
    modules = tmp_path_factory.mktemp("modules")
    make = "import os, sys\nos.execv(sys.executable, [sys.executable, '-Im', 'venv', '--without-pip', sys.argv[1]])\n"
    (modules / "venv.py").write_text(make)
    (modules / "pip").symlink_to(Path(pip.__file__).parent)
    return {"PYTHONPATH": str(modules)}


def test_an_environment_is_made_once(checkout):
    first = bootstrap(checkout, "run", "get", "--json")
    assert (first.returncode, first.stdout) == (7, "['get', '--json']\n"), first.stderr
    assert first.stderr.startswith("set up in .venv")

    (checkout / ".venv" / "mark").touch()
    again = bootstrap(checkout, "demo", "--seed", "2")
    assert (again.returncode, again.stdout, again.stderr) == (7, "['demo', '--seed', '2']\n", "")
    assert (checkout / ".venv" / "mark").exists()


def test_an_environment_is_made_again_when_half_made_or_outdated(checkout, quick):
    (checkout / "backend.py").write_text("def build_editable(*arguments):\n    raise SystemExit('no wheel today')\n")
    failed = bootstrap(checkout, "run", **quick)
    assert failed.returncode == 1
    assert "could not install the packages" in failed.stderr
    assert 'Traceback (most recent call last):\n  File "' + str(checkout / "bootstrap.py") not in failed.stderr
    assert not (checkout / ".venv" / "bootstrap.stamp").exists()

    (checkout / ".venv" / "mark").touch()
    shutil.rmtree(checkout / ".venv" / "bin")
    (checkout / "backend.py").write_text(BACKEND)
    assert bootstrap(checkout, "run", **quick).returncode == 7
    assert not (checkout / ".venv" / "mark").exists()

    (checkout / ".venv" / "mark").touch()
    (checkout / "pyproject.toml").write_text(PROJECT + "# changed\n")
    assert bootstrap(checkout, "run", **quick).returncode == 7
    assert not (checkout / ".venv" / "mark").exists()


def test_where_no_environment_can_be_made_it_says_what_to_install(checkout, tmp_path_factory):
    broken = tmp_path_factory.mktemp("broken")
    for module in ("venv", "virtualenv"):
        (broken / f"{module}.py").write_text("raise ImportError\n")
    result = bootstrap(checkout, "demo", PYTHONPATH=str(broken))
    assert result.returncode == 1
    assert "-venv" in result.stderr
    assert "virtualenv" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_too_old_is_told_so_by_name_and_version(checkout):
    text = (checkout / "bootstrap.py").read_text().replace("MINIMUM = (3, 11)", "MINIMUM = (3, 99)")
    (checkout / "bootstrap.py").write_text(text)
    result = bootstrap(checkout, "demo")
    assert result.returncode == 1
    assert f"{sys.executable} is {sys.version.split()[0]}" in result.stderr
    assert "Install" in result.stderr


def test_without_a_command_it_says_how_it_is_used():
    assert subprocess.run([sys.executable, BOOTSTRAP], capture_output=True, check=False).returncode == 2
    helped = subprocess.run([sys.executable, BOOTSTRAP, "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0
    assert "python3 bootstrap.py demo" in helped.stdout


def test_an_old_python_can_read_it():
    ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 7))
