"""What the tests of the blocking client's leader and followers share."""

import signal
import threading
from collections.abc import Callable

from protocol import Client
from tests.support.client_calls import Pending
from tests.support.patience import until
from tests.support.scripted_daemon import Request

FOR_EVER = 3600.0


class Held:
    """A daemon's script: it answers an operation only when it is told to."""

    def __init__(self, *operations: str) -> None:
        self._operations = operations
        self._held: list[Request] = []

    def __call__(self, request: Request) -> list[list[bytes]]:
        if request.header.operation in self._operations:
            self._held.append(request)
            return []
        return [*[held.well() for held in self._held], request.well()]


def leads(client: Client, call: Callable[[], object]) -> Pending:
    """A call whose caller leads, asleep."""
    pending = Pending(call)
    until(lambda: client._driver._asleep)
    return pending


def rests(client: Client) -> None:
    """Waits until nothing that is under way wakes the client's idle thread any more."""
    driver = client._driver

    def resting() -> bool:
        handshake = driver.session.handshake
        sampled = handshake.ready and handshake.request_id is None and not handshake._samples
        # It is let sleep on for what is so little earlier.
        return sampled and not driver._handed and driver._idle_until <= driver._due + 0.002

    until(resting)


class Handler:
    """A handler of SIGUSR1, in the main thread. What it does, it does once, and where that thread leads, asleep: in the
    midst of the client's own work it would hold up all others."""

    def __init__(self, client: Client, does: Callable[[], object]) -> None:
        self._client, self._does = client, does
        self._begun = threading.Event()

    def __call__(self) -> None:
        if self._client._driver._asleep == threading.get_ident() and not self._begun.is_set():
            self._begun.set()
            self._does()

    def signal(self) -> None:
        """Signals until it does what it does."""
        main = threading.main_thread().ident
        assert main is not None

        def signalled() -> bool:
            signal.pthread_kill(main, signal.SIGUSR1)
            return self._begun.wait(0.01)

        until(signalled)
