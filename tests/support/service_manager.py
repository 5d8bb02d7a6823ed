"""A service manager in small, as systemd is to a service of Type=notify: it hears what a daemon says of itself, and,
where it minds a watchdog, kills the daemon when that runs out and starts it again."""

import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import Daemon

MICROSECONDS = 1_000_000


class Notices:
    """What a daemon says, by a socket of our own. place: its path, or @NAME."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(place.replace("@", "\0", 1) if place.startswith("@") else place)

    def environment(self, watchdog_seconds: float = 0, pid: str = "") -> dict[str, str]:
        """What the daemon is to have in its environment. pid: whom the watchdog is for."""
        environment = {"NOTIFY_SOCKET": self.place}
        if watchdog_seconds:
            environment["WATCHDOG_USEC"] = str(round(watchdog_seconds * MICROSECONDS))
        return environment | ({"WATCHDOG_PID": pid} if pid else {})

    def next(self, within: float) -> dict[str, str]:
        """The next notice, empty where none comes within so many seconds."""
        if not select.select([self._socket], [], [], within)[0]:
            return {}
        lines = self._socket.recv(4096).decode().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def expect(self, name: str, within: float = 60.0) -> dict[str, str]:
        """The next notice with that in it; what comes before is passed over."""
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            notice = self.next(left)
            if name in notice:
                return notice
        raise AssertionError(f"no {name} within {within} s")

    def passed_over(self) -> list[dict[str, str]]:
        """What is here already."""
        found = []
        while notice := self.next(0):
            found.append(notice)
        return found

    def close(self) -> None:
        self._socket.close()
        if not self.place.startswith("@"):
            Path(self.place).unlink()


class Minder:
    """Runs one daemon after the other. start: gives the next. lives: those there were, the last one runs. is_ready:
    one of them has said that it is, and its watchdog is minded from then on."""

    def __init__(self, notices: Notices, watchdog_seconds: float, start: Callable[[], Daemon]) -> None:
        self._notices = notices
        self._watchdog_seconds = watchdog_seconds
        self._start = start
        self._stop = threading.Event()
        self.is_ready = threading.Event()
        self.lives: list[Daemon] = [start()]
        self._thread = threading.Thread(target=self._mind)
        self._thread.start()

    def __enter__(self) -> "Minder":
        return self

    def __exit__(self, *_: object) -> None:
        """It minds no longer; the daemon stays."""
        self._stop.set()
        self._thread.join()

    def _mind(self) -> None:
        while not self._stop.is_set():
            self._notices.expect("READY", within=120)
            self.is_ready.set()
            # Counted is what was waited for in vain: where this process stood still, notices may lie there.
            looks = 4
            left = looks
            while left and not self._stop.is_set():
                notice = self._notices.next(self._watchdog_seconds / looks)
                left = looks if "WATCHDOG" in notice else left - (not notice)
            if not self._stop.is_set():
                self.lives[-1].kill()
                self._notices.passed_over()
                self.lives.append(self._start())
