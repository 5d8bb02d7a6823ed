"""The clock of a client under test: it stands still, however long its machine does, until it is put forward."""

from collections.abc import Callable, Iterable

from protocol.client.session import SWEEP
from protocol.client.timeouts import DEFAULT_GRACE
from tests.support.scripted_daemon import Request


def over(timeout: float, grace: float = DEFAULT_GRACE) -> float:
    """So many seconds after a call was asked its time is over, and it is settled; nobody has given it up yet."""
    return timeout + grace + 2 * SWEEP


class Clock:
    """Stands for the module `time` in the client's own. now: seconds. It begins before any machine could have run a
    test: what goes on behind one, by the machine's clock, is never ahead of it."""

    def __init__(self) -> None:
        self.now = 1.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """It is over at once."""
        self.now += seconds

    def passes(self, seconds: float) -> Callable[[Request], Iterable[list[bytes]]]:
        """A daemon's script: so much time is over once it has a request, which it does not answer."""

        def answer(_: Request) -> Iterable[list[bytes]]:
            self.now += seconds
            return []

        return answer
