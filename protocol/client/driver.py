"""What a client's two drivers have in common. A driver stands between the callers and the channel: it lets the channel
have its turn when something is due, and wakes the callers whose calls are settled.

However a driver ends, closed, dropped, forked or failed, no call is left unsettled, and a later one is refused.
"""

import os
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable
from typing import Final

from .. import codes
from ..wire import Error
from .call import Call
from .channel import Channel
from .errors import ClientClosed
from .session import Session

CLOSED: Final = "the client is closed"
FORKED: Final = "this is a forked copy of a client: open one of your own"
INTERRUPTED: Final = "the client was interrupted in the middle of its work"
UNCLOSED: Final = "a utxod client was dropped without being closed"
NOT_COPIED: Final = "a client cannot be copied or pickled: open another one"
CLOSE_WAIT: Final = 5.0  # seconds; the longest that closing may take


class Driver(ABC):
    """Raises zmq.ZMQError where the endpoint is invalid. What the abstract methods need must be there before."""

    def __init__(self, endpoint: str, grace: float) -> None:
        self._ended = ""  # why nothing can be asked any more
        self._asked: dict[Call, int] = {}  # those that somebody waits for, in order, and the thread of each
        self._cut = False  # the last turn was interrupted: what it has left half done is not to be relied on
        self._channel = Channel(endpoint, grace, self)
        _drivers.add(self)

    @property
    def session(self) -> Session:
        return self._channel.session

    def on_collected(self) -> None:
        """Nobody holds the client any more. Called in garbage collection, in whatever thread: it never waits."""
        unclosed = not self._ended
        self._request_end()
        if unclosed:
            warnings.warn(UNCLOSED, ResourceWarning, stacklevel=2)

    def forked(self) -> None:
        """This process is a copy: what the driver uses is its parent's."""
        self._ended = FORKED

    @abstractmethod
    def watch(self, descriptor: int) -> None:
        """Lets the channel have its turn when the descriptor is readable."""

    @abstractmethod
    def unwatch(self, descriptor: int) -> None: ...

    @abstractmethod
    def wake(self) -> None:
        """Lets the channel have its turn soon. Called in any thread."""

    @abstractmethod
    def _request_end(self) -> None:
        """Never waits. Called in any thread."""

    @abstractmethod
    def _wake_callers(self, calls: Iterable[Call]) -> None:
        """These calls are settled."""

    def _settle_all(self, reason: str, but: Container[Call] = ()) -> None:
        """Also what a turn that failed has lost. but: what no turn has had yet."""
        self.session.close(reason)
        self.session.take_settled()
        asked = [call for call in list(self._asked) if call not in but]
        for call in asked:
            if not call.settled:
                call.fail(Error(codes.NO_ANSWER, codes.UNKNOWN, reason))
        self._wake_callers(asked)

    def _start_over(self, but: Container[Call] = ()) -> None:
        """After a turn that was interrupted."""
        self._settle_all(INTERRUPTED, but)
        self._channel.start_over()
        self._cut = False


def refusal(reason: str) -> ClientClosed:
    """The error of a call that is not asked."""
    return ClientClosed(Error(codes.NO_ANSWER, codes.NO, reason))


_drivers: "weakref.WeakSet[Driver]" = weakref.WeakSet()


def _forked() -> None:
    for driver in _drivers:
        driver.forked()


os.register_at_fork(after_in_child=_forked)
