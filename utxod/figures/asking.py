"""What is asked of the daemon: its report, by its own endpoint, as any client asks."""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import psutil

from protocol import UtxodError
from protocol.endpoint import IPC

Report = Mapping[str, Any]

# One report serves all who ask within so many seconds.
SHARED_SECONDS: Final = 0.5
# What is found wrong shows in what has happened for so long.
BEFORE_SECONDS: Final = 10.0
# The clock may be set back.
_MOST_REPORTS: Final = 2 + int(BEFORE_SECONDS / SHARED_SECONDS)
_TCP: Final = "tcp://"
_LOOPBACK: Final = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 (nobody listens there)


class Asked(NamedTuple):
    """report: None where the daemon did not answer, for the reason `why`, and has not since `silent_since`. at: when it
    was asked. before: a report of some seconds ago, the same one where there is none. Times are seconds of Unix time.
    """

    report: Report | None
    at: float
    before: Report | None = None
    silent_since: float = 0.0
    why: str = ""


class Asker:
    """Asks one daemon, whoever wants to know and however many they are. Any number of threads may use it.

    status: asks for its report; raises UtxodError where there is no answer."""

    def __init__(self, status: Callable[[], Report]) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._last = Asked(None, 0.0)
        self._reports: deque[tuple[float, Report]] = deque(maxlen=_MOST_REPORTS)
        self._asked_until = -SHARED_SECONDS

    def ask(self) -> Asked:
        """The daemon's present report. Who comes while somebody asks waits for that answer, and shares it."""
        with self._lock:
            if time.monotonic() - self._asked_until >= SHARED_SECONDS:
                self._last = self._ask()
                self._asked_until = time.monotonic()
            return self._last

    def _ask(self) -> Asked:
        at = time.time()
        try:
            report = self._status()
        except UtxodError as error:
            return Asked(None, at, silent_since=self._last.silent_since or at, why=error.message)
        self._reports.append((at, report))
        while len(self._reports) > 1 and self._reports[1][0] <= at - BEFORE_SECONDS:
            self._reports.popleft()
        return Asked(report, at, before=self._reports[0][1])


def endpoint_to_ask(addresses: Sequence[str]) -> str:
    """Of the addresses that a daemon listens at the one that a process beside it reaches best: an ipc one, or else the
    first; by loopback where that is every address of the host, by its address where it is an interface."""
    address = next((each for each in addresses if each.startswith(IPC)), addresses[0])
    if address.startswith(IPC):
        return address
    host, _, port = address.removeprefix(_TCP).rpartition(":")
    return f"{_TCP}{_LOOPBACK.get(host) or _address_of_interface(host) or host}:{port}"


def _address_of_interface(name: str) -> str | None:
    families = {socket.AF_INET: "{}", socket.AF_INET6: "[{}]"}
    found = [each for each in psutil.net_if_addrs().get(name, ()) if each.family in families]
    return families[found[0].family].format(found[0].address) if found else None
