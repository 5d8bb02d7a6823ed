"""Two daemons on one set, and what is done to them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote

import psutil

from protocol import Client, UtxodError
from utxod.own_daemon import DaemonError, OwnDaemon, own_daemon

_DAEMONS: Final = 2
_SETTINGS: Final = {
    "workers.write": 2,
    "workers.read": 1,
    "workers.children": 1,
    "broker.budget_seconds": 0.8,
    "broker.grace_seconds": 0.4,
}
_KILLED_POOLS: Final = ("write", "write", "write", "children")
_QUIET_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_BUSY_SECONDS: Final = 0.1


def set_url(directory: Path, store: str | None, utxo_batch_size: int) -> str:
    """store: URL of a set in Aerospike, whose blobs go into the directory where it does not say otherwise; None for an
    embedded one there."""
    if store is None:
        store = f"lmdb://{quote(str(directory / 'store'))}?sync=false"
    elif "blobs=" not in store:
        store += f"{'&' if '?' in store else '?'}blobs={quote(str(directory / 'blobs'))}"
    return f"{store}&utxo_batch_size={utxo_batch_size}"


@contextlib.contextmanager
def two_daemons(store_url: str) -> Iterator[list[OwnDaemon]]:
    arguments = [part for name, value in _SETTINGS.items() for part in ("--set", f"{name}={value}")]
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(own_daemon(store_url, arguments)) for _ in range(_DAEMONS)]


def kill_one(daemons: Sequence[OwnDaemon], random: Random) -> bool:
    """SIGKILL to a worker of one of them, where all of its pool are ready: on a slow machine too there is time to work
    between two. Returns whether there was one."""
    daemon, pool = random.choice(daemons), random.choice(_KILLED_POOLS)
    with contextlib.suppress(UtxodError, OSError), Client(daemon.endpoint) as client:
        report = client.status(timeout=2.0)
        pids = [process["pid"] for process in report["processes"] if process["pool"] == pool]
        if report["pools"][pool]["workers"] == _SETTINGS[f"workers.{pool}"]:
            os.kill(_busy_one(pids) or random.choice(pids), signal.SIGKILL)
            return True
    return False


def _busy_one(pids: Sequence[int]) -> int | None:
    """One that is at work just now, as far as that can be seen: it has items in its hands."""
    until = time.monotonic() + _BUSY_SECONDS
    while time.monotonic() < until:
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).status() != psutil.STATUS_SLEEPING:
                    return pid
    return None


def wait_until_quiet(daemons: Sequence[OwnDaemon]) -> None:
    """Until no worker has anything in hand, not even what nobody waits for any more, and nothing is owed. Raises
    DaemonError."""
    until = time.monotonic() + _QUIET_SECONDS
    for daemon in daemons:
        report: dict[str, Any] = {}
        with Client(daemon.endpoint) as client:
            while not report or not _is_quiet(report):
                if time.monotonic() > until:
                    raise DaemonError(f"the daemon is not quiet: {report}")
                time.sleep(_LOOK_SECONDS)
                with contextlib.suppress(UtxodError):
                    report = client.status(timeout=1.0)


def _is_quiet(report: dict[str, Any]) -> bool:
    return not (report["pending"] or report["owed"] or any(pool["in_flight"] for pool in report["pools"].values()))
