"""Where a page is walked: a home of its own, the daemon that runs there, and the shell that its commands are given to.

The home holds `utxod.toml`, the log `utxod.log`, the set, the state and the socket; the environment names the settings
and the socket, as an operator's would. So the commands of a page are short, and run as they are written. Pages show
places as they are on a host that is set up (`as_shown`).
"""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bench.faults import Faults
from protocol import Client, UtxodError

ROOT: Final = Path(__file__).resolve().parents[2]
HOME_SHOWN: Final = "/home/utxod"

# Paths are as long as on every other machine, so that tables and sockets' names fit alike.
_TEMPORARY: Final = "/tmp"
_FAULTY: Final = re.compile(r"faulty\+(lmdb:[^\s?,\"]*)(\?[^\s,\"]*)?")
# Outputs of a record: so few that small transactions have child records.
_OUTPUTS: Final = 2
_START_SECONDS: Final = 60.0
_COMMAND_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.02


class Scene:
    """faults: of the daemon's store, in force at once. open_files: the daemon's limit of them, from its next start on;
    None: as it is."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.faults = Faults(home)
        self.log = home / "utxod.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.open_files: int | None = None
        self.endpoint = f"ipc://{home}/utxod.sock"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("UTXOD_", "XDG_"))}
        self.environment = kept | {
            "HOME": str(home),
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), kept["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "UTXOD_CONFIG": str(home / "utxod.toml"),
            "UTXOD_CONNECT": self.endpoint,
            "LC_ALL": "C.UTF-8",
        }

    # ---- the daemon

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """The file of settings: a scene's places, and these, by their keys."""
        own = {"store": self.store_url(), "listen": [self.endpoint], "state": str(self.home / "state")}
        tables: dict[str, dict[str, Any]] = {"": own}
        for key, value in settings.items():
            section, _, name = key.rpartition(".")
            tables.setdefault(section, {})[name] = value
        text = ""
        for section, pairs in sorted(tables.items()):
            text += f"\n[{section}]\n" if section else ""
            text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in pairs.items())
        (self.home / "utxod.toml").write_text(text)

    def store_url(self, **options: int) -> str:
        """Of the scene's set. options: further ones of the embedded store."""
        further = "".join(f"&{name}={value}" for name, value in options.items())
        fixed = f"sync=false&utxo_batch_size={_OUTPUTS}{further}"
        return f"faulty+lmdb://{self.home}/set?{fixed}&faults={self.faults.file}"

    def start(self, settings: Mapping[str, Any] | None = None, stderr: int | None = None) -> None:
        """The daemon, once it serves. settings: beside the places; None: those that are there. stderr: a descriptor,
        in place of the log."""
        if settings is not None:
            self.write_settings(settings)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "utxod", "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log if stderr is None else stderr,
                cwd=self.home,
                env=self.environment | {"UTXOD_METRICS": "127.0.0.1:0"},
                start_new_session=True,
                preexec_fn=self._limit,  # noqa: PLW1509 (one system call)
            )
        report = self.until(lambda report: all(pool["workers"] for pool in report["pools"].values()), _START_SECONDS)
        self.environment["UTXOD_METRICS"] = report["metrics"]

    def _limit(self) -> None:
        if self.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))

    def stop(self) -> None:
        """As a manager of services ends it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.kill()

    def kill(self) -> None:
        """By SIGKILL; its workers end with it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """With the settings that are in the file now."""
        self.stop()
        self.start()

    def workers(self, pool: str) -> list[int]:
        """Their processes' ids."""
        with self.client() as client:
            return [process["pid"] for process in client.status()["processes"] if process["pool"] == pool]

    # ---- who asks it

    def client(self, timeout: float = 30.0) -> Client:
        return Client(self.endpoint, timeout=timeout)

    def until(self, condition: Callable[[Mapping[str, Any]], Any], within: float = 60.0) -> Mapping[str, Any]:
        """The daemon's first report that is like that."""
        deadline = time.monotonic() + within
        with self.client(timeout=1.0) as client:
            while True:
                with contextlib.suppress(UtxodError):
                    if condition(report := client.status()):
                        return report
                if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"it did not come to that; the log:\n{self.log.read_text()}")
                time.sleep(_LOOK_SECONDS)

    def run(self, line: str) -> str:
        """What a command prints, on whichever of its two outputs, as pages show it."""
        done = subprocess.run(
            ["bash", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.home,
            env=self.environment,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return self.as_shown(done.stdout)

    def as_shown(self, printed: str) -> str:
        """The walk's home is the home of a user utxod, and the store that breaks is the one within it."""
        shown = _FAULTY.sub(r"\1", printed).replace(str(self.home), HOME_SHOWN)
        return "".join(f"{line.rstrip()}\n" for line in shown.splitlines())


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """One of which nothing is left."""
    home = Path(tempfile.mkdtemp(prefix="utxod-walk-", dir=_TEMPORARY))
    made = Scene(home)
    try:
        yield made
    finally:
        made.faults.clear()
        made.stop()
        shutil.rmtree(home, ignore_errors=True)
