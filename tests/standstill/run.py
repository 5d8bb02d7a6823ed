"""How long the daemon's loop stands still, at the longest, while its surroundings are hard.

For each of them, again and again, a daemon of its own with a few callers: its surroundings are made hard for some
seconds, and then as they were. Beside them stands the same without any of it: what the machine itself takes. The
figure is the daemon's own (`longest_standstill_seconds` of its report), since its start. How long a caller waited, at
the longest, is told as well.
"""

import contextlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench.report import ANSWERED, Figure, Report
from protocol import Client, CreateItem, Outcome
from protocol.client.timeouts import DEFAULT_GRACE
from protocol.codes import NO_ANSWER
from tests.chaos.daemon import Daemon
from tests.chaos.run import IN_TIME, TOLERANCE_SECONDS
from tests.chaos.surroundings import Imposed, Surroundings
from utxod.own_daemon import DaemonError, last_lines

GOAL_SECONDS: Final = 1.0
STOOD_STILL: Final = "the loop never stood still for a second"
SERVED: Final = "the daemon served on, and everything afterwards"
_CALM: Final = "calm"
# By the names of what is imposed (Surroundings).
_ROWS: Final = {
    _CALM: "nothing of it",
    "descriptors_ipc": "no descriptors left, a crowd of submitters over ipc",
    "descriptors_tcp": "no descriptors left, a crowd of submitters over tcp",
    "no_interpreter": "no worker can be started",
    "nameless_signal": "workers ended by a signal without a name",
    "signal_daemon": "a signal to the daemon",
    "log_unread": "nobody reads the log",
    "many_frames": "messages of 400,000 frames",
    "nonsense": "a flood of nonsense",
    "strangers": "peers that make no handshake",
    "sweep": "temporary files and socket swept away",
    "second_daemon": "a second daemon at the address",
}
NAMES: Final = tuple(_ROWS)
# Time enough to see that who makes no handshake is closed.
_STRANGERS_SECONDS: Final = 13.0
_CALLERS: Final = 4
_TIMEOUT: Final = 3.0
_PAUSE_SECONDS: Final = 0.01
_CALM_SECONDS: Final = 0.5
_AFTERWARDS_SECONDS: Final = 20.0
_OUTPUTS: Final = {0: (1000, b"\x51")}


def standstill(rounds: int, seconds: float, only: Sequence[str] = ()) -> Report:
    """rounds: how often each is tried. seconds: how long it is imposed. only: names of those to try; all if empty."""
    report = Report("standstill")
    standstills: dict[str, list[float]] = {name: [] for name in only or NAMES}
    waits = {_ROWS[name]: 0.0 for name in standstills}
    report.details["the longest that a caller waited, in seconds"] = waits
    for number in range(rounds):
        for name in standstills:
            longest, wait = _try(report, name, seconds, number)
            standstills[name] += longest
            waits[_ROWS[name]] = round(max(wait, waits[_ROWS[name]]), 3)
    for name, found in standstills.items():
        if found:
            goal = None if name == _CALM else GOAL_SECONDS
            report.figures.append(Figure(_ROWS[name], found, "s", goal, higher_is_better=False))
            report.promise(STOOD_STILL, name == _CALM or max(found) < GOAL_SECONDS)
    return report


def _try(report: Report, name: str, seconds: float, number: int) -> tuple[list[float], float]:
    """The longest standstill, none where the daemon did not live to tell; and the longest that a caller waited."""
    directory = Path(tempfile.mkdtemp(prefix="utxod-standstill-"))
    daemon = Daemon(directory, store=None, atomic=True)
    longest: list[float] = []
    waits = [0.0]
    try:
        daemon.start()
        with _callers(report, daemon.endpoint, waits):
            time.sleep(_CALM_SECONDS)
            _impose(daemon, name, seconds, number)
            _expect_service(daemon)
            longest = [daemon.wait_for(lambda _: True, _AFTERWARDS_SECONDS)["longest_standstill_seconds"]]
        daemon.drain()
    except DaemonError as error:
        daemon.complaints.append(str(error))
    finally:
        daemon.destroy()
    for complaint in daemon.complaints:
        print(f"{_ROWS[name]}: {complaint}", file=sys.stderr)
    report.promise(SERVED, not daemon.complaints)
    if daemon.complaints:
        print(f"everything of this try is in {directory}", file=sys.stderr)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return longest, max(waits)


def _impose(daemon: Daemon, name: str, seconds: float, number: int) -> None:
    around = Surroundings(daemon, random.Random(number))
    imposed: Imposed | None = None if name == _CALM else getattr(around, name)()
    time.sleep(_STRANGERS_SECONDS if name == "strangers" else seconds)
    if imposed is not None and imposed.lift is not None:
        imposed.lift()


def _expect_service(daemon: Daemon) -> None:
    """Raises DaemonError where a new client can't soon write and read in each pool again."""
    until = time.monotonic() + _AFTERWARDS_SECONDS
    outcomes: list[Outcome[Any]] = []
    with Client(daemon.endpoint, timeout=1.0) as client:
        while time.monotonic() < until:
            outcomes = list(_ask(client))
            if all(outcome.ok for outcome in outcomes):
                return
            time.sleep(_PAUSE_SECONDS)
    codes = ", ".join(outcome.code for outcome in outcomes)
    raise DaemonError(f"afterwards callers were answered {codes}\n{last_lines(daemon.log)}")


def _ask(client: Client) -> Iterator[Outcome[Any]]:
    """Something new is created, and read."""
    txid = os.urandom(32)
    yield from client.create_many([CreateItem.partial(txid, _OUTPUTS, block_height=1)])
    yield from client.outpoint_many([(txid, 0)])


@contextlib.contextmanager
def _callers(report: Report, endpoint: str, waits: list[float]) -> Iterator[None]:
    """Meanwhile a few callers ask, one question after the other. waits: is told how long each took, in seconds."""
    is_over = threading.Event()

    def call(client: Client) -> None:
        while not is_over.wait(_PAUSE_SECONDS):
            asked = time.monotonic()
            for outcome in _ask(client):
                now = time.monotonic()
                waits.append(now - asked)
                report.promise(ANSWERED, outcome.code != NO_ANSWER)
                report.promise(IN_TIME, now - asked < _TIMEOUT + DEFAULT_GRACE + TOLERANCE_SECONDS)
                asked = now

    with Client(endpoint, timeout=_TIMEOUT) as client:
        threads = [threading.Thread(target=call, args=(client,)) for _ in range(_CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
