"""Sets the project up in .venv beside this file and runs it. Needs nothing but Python 3.11 or newer.

    python3 bootstrap.py demo           set up, then: utxod demo
    python3 bootstrap.py test           set up with the development tools, then: pytest, side by side (-n 0: not so)
    python3 bootstrap.py run ARGS...    set up, then: utxod ARGS...

The environment is made once, and again when pyproject.toml changes or when making it was interrupted. The exit code is
that of the command that was run. (Old syntax on purpose: an old Python must get as far as saying that it is too old.)
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from typing import NoReturn

MINIMUM = (3, 11)
ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
BIN = os.path.join(VENV, "bin")
PYTHON = os.path.join(BIN, "python")
STAMP = os.path.join(VENV, "bootstrap.stamp")
LOG = os.path.join(VENV, "bootstrap.log")
# Tests, in as many processes as there are processors. (More than a few only start more daemons than they save time.)
SIDE_BY_SIDE = ["-n", "logical", "--maxprocesses", "4", "--dist", "worksteal"]


def main(argv: "list[str]") -> int:
    command = argv[0] if argv else ""
    if command not in ("demo", "test", "run"):
        print(__doc__.strip())
        return 0 if command in ("-h", "--help") else 2
    if sys.version_info < MINIMUM:
        with_newer_python(argv)
    set_up(development=command == "test")
    if command == "test":
        os.chdir(ROOT)
        # A server that is named is one for all tests, and some of them take its rules away.
        side_by_side = [] if os.environ.get("UTXOD_TEST_AEROSPIKE") else SIDE_BY_SIDE
        run = [PYTHON, "-m", "pytest", *side_by_side, *argv[1:]]
    else:
        run = [os.path.join(BIN, "utxod"), *(argv[1:] if command == "run" else argv)]
    sys.stdout.flush()
    return os.execv(run[0], run)  # in place of this process: signals and the exit code are the command's own


def with_newer_python(argv: "list[str]") -> "NoReturn":
    """Too old: hand over to a newer one where there is one, or say what to install."""
    for minor in range(19, MINIMUM[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer and succeeds([newer, "-c", ""]):
            os.execv(newer, [newer, os.path.abspath(__file__), *argv])
    fail(
        f"utxod needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.\n"
        "Install one (Debian, Ubuntu: apt install python3.11 python3.11-venv; others: https://www.python.org/downloads)\n"
        "and start this script with it: python3.11 bootstrap.py"
    )


def set_up(development: bool) -> None:
    """The environment as pyproject.toml wants it; nothing is done where it is there already."""
    import fcntl

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as project:
        fcntl.flock(project, fcntl.LOCK_EX)  # two of us at once: the second waits, and finds it done
        wanted = f"{hashlib.sha256(project.read()).hexdigest()} {sys.version.split()[0]} {ROOT}"
        stamp = read(STAMP).split("\n")
        if stamp[0] == wanted and (not development or "development" in stamp[1:]):
            return
        started = time.monotonic()
        if stamp[0] != wanted:
            shutil.rmtree(VENV, ignore_errors=True)  # half made, of another Python, moved, or outdated
            make_environment()
        what = ROOT + ("[dev]" if development or "development" in stamp[1:] else "")
        install(what)
        with open(STAMP, "w") as file:  # last: without it the environment counts as half made
            file.write("\n".join([wanted, "development" if what.endswith("]") else "use"]))
        say(f"set up in .venv ({time.monotonic() - started:.0f} s)", last=True)


def make_environment() -> None:
    say("making .venv")
    os.makedirs(VENV)
    if succeeds([sys.executable, "-m", "venv", VENV]):
        return
    shutil.rmtree(VENV, ignore_errors=True)  # without ensurepip (Debian's python3-venv is not there) half of it is made
    if succeeds([sys.executable, "-m", "virtualenv", "-q", VENV]):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    fail(
        f"{sys.executable} can't make virtual environments: its module venv or ensurepip is missing.\n"
        f"Install them (Debian, Ubuntu: apt install python3.{sys.version_info[1]}-venv; "
        f"others: {sys.executable} -m pip install virtualenv)\n"
        "and start this again."
    )


def install(what: str) -> None:
    """pip, with one line of progress in place of its pages."""
    command = [PYTHON, "-m", "pip", "install", "--prefer-binary", "--no-input", "--progress-bar", "off", "-e", what]
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_REQUIRE_VIRTUALENV="0")
    environment.pop("PIP_USER", None)
    environment.pop("PIP_TARGET", None)
    say("installing")
    with open(LOG, "w") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
            env=environment,
        )
        for line in process.stdout or ():
            log.write(line)
            words = line.split()
            if words[:1] == ["Collecting"]:
                say("collecting " + words[1])
            elif words[:1] == ["Installing"]:
                say("installing")
        status = process.wait()
    if status != 0:
        fail(f"{''.join(tail(LOG))}\ncould not install the packages; all that pip said: {LOG}")


def succeeds(command: "list[str]") -> bool:
    return subprocess.call(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def say(text: str, last: bool = False) -> None:
    """A line that replaces the one before on a terminal; elsewhere only the last is printed."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text[:78] + ("\n" if last else ""))
    elif last:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fail(message: str) -> "NoReturn":
    sys.stderr.write(("\r\033[K" if sys.stderr.isatty() else "") + message + "\n")
    sys.exit(1)


def read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def tail(path: str) -> "list[str]":
    return read(path).splitlines(True)[-12:]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        sys.exit(130)
