"""Runs tests while their processes are stopped now and then: `python -m tests.stops [PYTEST'S ARGUMENTS]`.

Each process of the run, pytest's own, a daemon, a worker, stands still at moments that chance picks, while all others
go on: what a busy machine does to them now and then, done often. A test that takes for granted that something is done
by then, or is not yet, fails here sooner or later. The moments are chance's each time: a seed would not repeat them.

They are stopped by the kernel's freezer (cgroup v2): to all others such a process looks as if it had no processor. One
that is stopped by a signal can be told from it, and the daemon ends a worker for that.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

_LOOK_SECONDS: Final = 0.01
# Most stops are short, as a busy machine's are: the longest time is multiplied by a random number to this power.
_SHORTNESS: Final = 3
_MOST_AT_ONCE: Final = 8


class Freezer:
    """A cgroup that processes are moved to, to stand still there. home: the cgroup that they are of."""

    def __init__(self, home: Path, name: str) -> None:
        """Raises OSError where this user may make none."""
        self._home = home
        self._own = home / name
        self._own.mkdir()
        self.until = 0.0  # 0: nobody is in it

    def hold(self, pid: int, until: float) -> bool:
        """Whether the process was still there. until: what `until` says from then on."""
        with contextlib.suppress(OSError):
            (self._own / "cgroup.procs").write_text(str(pid))
            (self._own / "cgroup.freeze").write_text("1")
            self.until = until
        return self.until > 0

    def let_go(self) -> None:
        """All that are in it: who was held may have started another process just before."""
        (self._own / "cgroup.freeze").write_text("0")
        for pid in (self._own / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (self._home / "cgroup.procs").write_text(pid)
        self.until = 0.0

    def close(self) -> None:
        self.let_go()
        with contextlib.suppress(OSError):  # of what has ended in it something is left for a moment
            self._own.rmdir()


def own_cgroup() -> Path:
    """Of this process. Raises OSError where there is no cgroup v2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    places = [place for _, place, kind, *_ in mounts if kind == "cgroup2"]
    own = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    if not places or not own:
        raise OSError("there is no cgroup v2 here")
    return Path(places[0]) / own[0].lstrip("/")


@contextlib.contextmanager
def freezers(count: int) -> Iterator[list[Freezer]]:
    """Raises OSError where this user may make none."""
    home = own_cgroup()
    with contextlib.ExitStack() as made:
        own = []
        for number in range(count):
            own.append(Freezer(home, f"stops-{os.getpid()}-{number}"))
            made.callback(own[-1].close)
        yield own


def run(arguments: list[str], chance: float, longest: float) -> int:
    """pytest's exit status. arguments: its own. chance: to stop a process at a look. longest: seconds, at most. Raises
    OSError as `freezers`."""
    stops = 0
    with freezers(_MOST_AT_ONCE) as own:
        tests = subprocess.Popen([sys.executable, "-m", "pytest", *arguments])
        signal.signal(signal.SIGTERM, lambda *_: tests.terminate())  # so that nobody is left who stands still
        with contextlib.suppress(KeyboardInterrupt):  # pytest has it too, and says what it has done so far
            while tests.poll() is None:
                now = time.monotonic()
                for freezer in own:
                    if 0 < freezer.until <= now:
                        freezer.let_go()
                free = next((freezer for freezer in own if not freezer.until), None)
                if free is not None and random.random() < chance:
                    stops += free.hold(_one_of(tests.pid), now + longest * random.random() ** _SHORTNESS)
                time.sleep(_LOOK_SECONDS)
    status = tests.wait()
    print(f"{stops} stops")
    return status if status >= 0 else 128 - status


def _one_of(root: int) -> int:
    """One of a process and all that came of it."""
    with contextlib.suppress(psutil.Error):
        return random.choice([root, *(process.pid for process in psutil.Process(root).children(recursive=True))])
    return root


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stops", description=__doc__.partition("\n")[0])
    parser.add_argument("--chance", type=float, default=0.05, help="that a process is stopped, each 10 ms (0.05)")
    parser.add_argument("--longest", type=float, default=1.5, help="stop, in seconds (1.5)")
    options, arguments = parser.parse_known_args()
    try:
        return run(arguments, options.chance, options.longest)
    except OSError as error:
        print(f"no process can be stopped: {error}; run it as root, or in a cgroup of your own", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
