"""Another revision of the project, with an environment of its own, as its bootstrap.py makes it: for measuring it
beside this one.

It is kept in the user's cache, by its commit, so that it is made once: $XDG_CACHE_HOME/utxod-bench or
~/.cache/utxod-bench. One that was interrupted while it was made is removed.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from utxod.import_guard import ROOT

from .processes import started
from .report import MeasurementError

_BOOTSTRAP: Final = "bootstrap.py"
_BENCH: Final = Path("bench", "__main__.py")
_PYTHON: Final = Path(".venv", "bin", "python")
_READY: Final = "ready"
_INSTEAD: Final = (
    "or name the directory of a checkout that has been set up (python3 bootstrap.py run --version) instead"
)


@dataclass(frozen=True, slots=True)
class Revision:
    """name: as it is shown. tree: where it is checked out. python: of its environment."""

    name: str
    tree: Path
    python: Path


def this_one() -> Revision:
    return Revision("this revision", ROOT, Path(sys.executable))


def revision(name: str) -> Revision:
    """name: what git calls a commit (a hash, a tag, a branch), or the directory of a checkout that has been set up.

    Makes its environment where it is not made yet: a minute, with a line of progress. Raises MeasurementError.
    """
    given = Path(name)
    if (given / _BENCH).is_file():
        return _checkout(name, given.resolve())
    commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    if not commit:
        raise MeasurementError(
            f"{name!r} is no commit that the repository in {ROOT} has, and no directory of a checkout: is it spelt "
            "right? Fetch it (git fetch), where it is a remote's"
        )
    kept = _cache() / commit
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two of us at once: the second waits, and finds it done
        if not (kept / _READY).exists():
            _make(name, commit, kept)
    return Revision(name, kept, kept / _PYTHON)


def _checkout(name: str, tree: Path) -> Revision:
    if not (tree / _PYTHON).exists():
        raise MeasurementError(
            f"{tree} has no environment of its own ({_PYTHON}): make it with "
            f"cd {tree} && python3 {_BOOTSTRAP} run --version"
        )
    return Revision(name, tree, tree / _PYTHON)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "utxod-bench"


def _make(name: str, commit: str, kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)  # half made, by one that was killed
    try:
        _check_out(commit, kept)
        if not (kept / _BOOTSTRAP).exists() or not (kept / _BENCH).exists():
            raise MeasurementError(f"{name} has no {_BOOTSTRAP} or no {_BENCH}: it can't be set up; {_INSTEAD}")
        click.echo(f"setting up {name} in {kept}", err=True)
        _set_up(name, kept)
        (kept / _READY).touch()
    except BaseException:
        shutil.rmtree(kept, ignore_errors=True)
        raise
    click.echo("kept there for the next time; it may be removed at any time", err=True)


def _check_out(commit: str, tree: Path) -> None:
    packed = tree.with_suffix(".tar")
    try:
        _git("archive", f"--output={packed}", commit)
        shutil.unpack_archive(packed, tree)
    finally:
        packed.unlink(missing_ok=True)


def _set_up(name: str, tree: Path) -> None:
    """As a user does it, with the interpreter that made this environment."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = Path(sys.base_exec_prefix, "bin", f"python{version}")
    command = [str(python) if python.exists() else sys.executable, _BOOTSTRAP, "run", "--version"]
    with started(command, cwd=tree, stdout=subprocess.DEVNULL) as process:
        status = process.wait()
    if status:
        raise MeasurementError(
            f"{name} could not be set up: {_BOOTSTRAP} says above why. Does it reach a package index, and does this "
            f"Python ({version}) suit that revision? Mend it and try again, {_INSTEAD}"
        )


def _git(*arguments: str) -> str:
    """What it prints; nothing where it finds nothing."""
    git = shutil.which("git")
    if git is None:
        raise MeasurementError(f"git is not installed: install it, {_INSTEAD}")
    command = [git, "-C", str(ROOT), *arguments]
    result = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (git)
    if result.returncode not in (0, 1):
        raise MeasurementError(
            f"{ROOT}: {result.stderr.strip()}: that is no repository with its history; clone it, {_INSTEAD}"
        )
    return result.stdout
