"""What the tests of the blocking client's leader and followers share."""

import threading
import time
from collections.abc import Callable

from protocol import Client
from tests.support.client_calls import Pending
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


def until(condition: Callable[[], object], within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.002)
