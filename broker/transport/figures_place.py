"""Where the figures' process serves, bound by the daemon, which never accepts there.

So that process may die, and its successor goes on with the same sockets, at the same port. Figures are nobody's need:
where the port is taken, or not allowed, or the name leads nowhere, the daemon serves on without them, and tries again.
A thread looks the name up, since a name server may say nothing for long.
"""

import logging
import threading
from typing import Final

from .places import TCP, TcpPlace, look_up, split_tcp, tcp_places

log = logging.getLogger("utxod")

THREAD_NAME: Final = "figures' place"
_FIRST_DELAY_SECONDS: Final = 1.0
_LONGEST_DELAY_SECONDS: Final = 60.0


class FiguresPlace:
    """address: HOST:PORT, with the port that was chosen; empty until it is bound. name: the host in `wanted`.
    wanted: HOST:PORT, or empty for none.

    Raises OSError where that can be no address at all."""

    def __init__(self, wanted: str) -> None:
        self.address = ""
        self._wanted = wanted
        self._places: list[TcpPlace] = []
        self._not_before = 0.0
        self._delay = _FIRST_DELAY_SECONDS
        self._thread: threading.Thread | None = None  # of the try that is under way
        self._came: list[TcpPlace] | OSError | None = None  # of it
        self.name, _, port = wanted.rpartition(":")
        if wanted:
            if not (self.name and port.isdecimal()):
                raise OSError(f"{wanted:.200}: wanted HOST:PORT, as in 127.0.0.1:9464")
            split_tcp(TCP + wanted)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of the listening sockets: one for each address of the host."""
        return tuple(place.fileno() for place in self._places)

    def open_when_due(self, now: float) -> bool:
        """Goes on with binding it, where that is wanted, not done yet, and due. Whether it has come to be just now.
        now: seconds, monotonic."""
        if not self._wanted or self._places or now < self._not_before:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._try, name=THREAD_NAME, daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # no thread is left
                self._came = OSError(str(error))
        if self._came is None:
            return False
        came, self._came, self._thread = self._came, None, None
        if isinstance(came, OSError):
            log.warning("no figures: %s; the next try is in %.0f s", came.strerror or came, self._delay)
            self._not_before = now + self._delay
            self._delay = min(2 * self._delay, _LONGEST_DELAY_SECONDS)
            return False
        self._places = came
        self.address = came[0].address.removeprefix(TCP)
        log.info("figures at http://%s", self.address)
        return True

    def close(self) -> None:
        """Nobody can ask there any more."""
        for place in self._places:
            place.release()

    def _try(self) -> None:
        try:
            self._came = tcp_places(look_up(TCP + self._wanted))
        except OSError as error:
            self._came = error
