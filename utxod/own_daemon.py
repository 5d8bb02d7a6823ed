"""A daemon that a command starts for itself and ends with itself: for the demo, a replay, a measurement.

When the command ends, by itself, by Ctrl-C or because it is told to, nothing is left of it. What it leaves when it is
killed goes with the next one: a lock tells a directory in use, and the daemon holds it as well, until it has ended.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol import Client, UtxodError

from .import_guard import ROOT
from .interruption import handled

START_SECONDS: Final = 60.0  # a busy machine takes long to start many workers
POLL_SECONDS: Final = 0.02
STOP_SECONDS: Final = 15.0
EMBEDDED: Final = "lmdb://{directory}/store"
EMBEDDED_UNSYNCED: Final = EMBEDDED + "?sync=false"
_PREFIX: Final = "utxod-own-"
_LOCK: Final = "lock"
_PR_SET_PDEATHSIG: Final = 1


class DaemonError(Exception):
    """The daemon did not start, or ended by itself. The message holds the last lines it wrote."""


@dataclass(frozen=True, slots=True)
class OwnDaemon:
    """endpoint: where it listens. pid: of its supervisor. directory: temporary; its store is in it unless named."""

    endpoint: str
    pid: int
    directory: Path


@contextlib.contextmanager
def own_daemon(store: str = EMBEDDED, arguments: Sequence[str] = ()) -> Iterator[OwnDaemon]:
    """A daemon that is ready to serve; it is stopped, and its temporary directory removed, at the end.

    store: URL, in which {directory} stands for the temporary directory. arguments: further ones for `utxod serve`.
    Raises DaemonError.
    """
    with _told_to_end_in_order(), _temporary_directory() as (directory, lock):
        endpoint = f"ipc://{directory / 'utxod.sock'}"
        log = directory / "daemon.log"
        store = store.replace("{directory}", str(directory))
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 (ourselves)
                [sys.executable, "-m", "utxod", "serve", "--listen", endpoint, "--store", store, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(directory),
                cwd=directory,
                pass_fds=[lock],
                start_new_session=True,  # the terminal's Ctrl-C is for us; we stop the daemon in turn
                preexec_fn=end_with_parent,  # noqa: PLW1509 (one C call)
            )
        try:
            _wait_until_ready(process, endpoint, log)
            yield OwnDaemon(endpoint, process.pid, directory)
        finally:
            _stop(process)


@contextlib.contextmanager
def _told_to_end_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP raise SystemExit meanwhile, where they would end this process as it stands."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    deadly = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    with handled(deadly, end):
        yield


@contextlib.contextmanager
def _temporary_directory() -> Iterator[tuple[Path, int]]:
    """A directory, removed at the end, and the descriptor of its lock."""
    _clear_leftovers()
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        # Nobody sees it by its name before it is locked.
        with (directory / f"{_LOCK}.new").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            Path(lock.name).rename(directory / _LOCK)
            yield directory, lock.fileno()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _clear_leftovers() -> None:
    """Removes the directories of commands that were killed, once their daemons have ended; nobody else's."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.parent.lstat().st_uid == os.getuid() and not path.parent.is_symlink():
                    shutil.rmtree(path.parent)
            finally:
                os.close(descriptor)


def environment(directory: Path) -> dict[str, str]:
    """This process's own, without settings of utxod, and with this installation first on the path: it may be a bare
    checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UTXOD_")}
    path = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(path), "UTXOD_STATE": str(directory / "state")}


def end_with_parent() -> None:
    """The kernel sends this process SIGTERM when its parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_ready(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with Client(endpoint, timeout=1.0) as client:
        while True:
            with contextlib.suppress(UtxodError):
                pools = client.status(timeout=0.5)["pools"]
                if all(pool["workers"] for pool in pools.values()):
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
                raise DaemonError(f"the daemon ended at its start (exit code {process.returncode}):\n{last_lines(log)}")
            if time.monotonic() > deadline:
                raise DaemonError(f"the daemon did not answer within {START_SECONDS:.0f} s:\n{last_lines(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:  # also where somebody who waits for that is impatient
        process.kill()
        process.wait()


def last_lines(log: Path) -> str:
    """Of what a process wrote: enough to say why it ended."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
