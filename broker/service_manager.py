"""Tells the service manager (systemd, or what speaks its protocol: sd_notify(3)) how the daemon is: that it serves, is
being reloaded, ends; and, as often as it wants to hear it, that its loop goes round.

It never blocks and never raises. What could not be sent, since the manager's queue was full, is sent at a later sweep.
"""

import os
import socket
import time
from collections import deque
from collections.abc import MutableMapping
from typing import Final

_MICROSECONDS: Final = 1_000_000
# Of the time after which the manager gives the daemon up. It asks for a half; a sweep may be late.
_FED_IN: Final = 4
# Between two sweeps: the loop waits in whole milliseconds.
_SHORTEST_SECONDS: Final = 0.001
# What waits to be told: the last of it says how things are. A manager that is gone for good is told nothing.
_MOST_UNSENT: Final = 8
# What ending takes beside the drain: workers and companions that have to be killed, answers that are still sent.
_END_SECONDS: Final = 15.0


class ServiceManager:
    """environment: the process's; what the manager has put there is taken out, so that no child takes it for its own.

    Without a manager, or with one that can't be reached, nothing happens."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = _address(environment.pop("NOTIFY_SOCKET", ""))
        self._feed_seconds = _watchdog_seconds(environment) / _FED_IN
        self._next_feed = 0.0
        self._serving = ""  # as told to people, while it does
        self._unsent: deque[str] = deque(maxlen=_MOST_UNSENT)
        self._socket: socket.socket | None = None

    def ready(self, status: str) -> None:
        """It serves. status: a line for people."""
        self._serving = status
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """It is being reloaded; `reloaded` follows, whatever comes of it. Not told unless it serves."""
        if self._serving:
            self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reloading")

    def reloaded(self) -> None:
        """It serves on."""
        if self._serving:
            self.ready(self._serving)

    def stopping(self, status: str, drain_seconds: float) -> None:
        """It ends, and may take so long to drain before it does. status: a line for people."""
        self._serving = ""
        end_us = round((drain_seconds + _END_SECONDS) * _MICROSECONDS)
        self._tell(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={end_us}\nSTATUS={status}")

    def swept(self, now: float) -> None:
        """The loop has come round. To be called by the sweep and nowhere else: who stands still is not fed for. now:
        seconds, monotonic."""
        while self._unsent and self._send(self._unsent[0]):
            self._unsent.popleft()
        if self._feed_seconds and now >= self._next_feed and self._send("WATCHDOG=1"):
            self._next_feed = now + self._feed_seconds

    def sweep_seconds(self, wanted: float) -> float:
        """What may lie between two sweeps for the manager to be fed in time. wanted: by the settings."""
        return min(wanted, max(self._feed_seconds, _SHORTEST_SECONDS)) if self._feed_seconds else wanted

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _tell(self, state: str) -> None:
        if self._unsent or not self._send(state):
            self._unsent.append(state)

    def _send(self, state: str) -> bool:
        """Whether there is nothing more to be done about it: not where it is worth another try."""
        if not self._address:
            return True
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            # Not connected: a manager that starts anew binds another socket to its address.
            self._socket.sendto(state.encode(errors="replace"), self._address)
        except OSError:
            return False
        return True


def _address(named: str) -> str:
    """Of a path, or a name that begins with @ and is in no directory; empty for all else, which there is for virtual
    machines."""
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else ""


def _watchdog_seconds(environment: MutableMapping[str, str]) -> float:
    """After how long without a word the manager ends this process; 0 where it does not, or means another process."""
    within, meant = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    if not within.isdecimal() or meant not in ("", str(os.getpid())):
        return 0.0
    return float(within) / _MICROSECONDS
