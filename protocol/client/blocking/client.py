# Generated from its twin by `python -m tests.protocol.generate_blocking`: change that, and run this.
"""The blocking client."""

import time
import weakref
from typing import NoReturn, TypeVar

from ...endpoint import default_endpoint
from ..driver import NOT_COPIED
from ..headroom import check_headroom
from ..questions import Question
from ..session import Counters
from ..thread_driver import ThreadDriver
from ..timeouts import DEFAULT_GRACE, DEFAULT_TIMEOUT, checked_timeout
from .outputs import OutputAsker
from .transactions import TransactionAsker

T = TypeVar("T")


class Client(TransactionAsker, OutputAsker):
    """A client of one daemon. Any number of threads may use it; calls that they make at the same time travel in one
    request. A call that is interrupted is forgotten: what it asked may be executed all the same. Where the interrupt
    comes in the middle of the client's own work, which its callers do for each other, all calls that are under way
    raise NoAnswer; and what a signal's handler or a finalizer asks just then raises NoAnswer ("no") at once. A handler
    that comes just then and waits for what other threads ask holds them up: until half a second after their timeout and
    the grace, when they raise NoAnswer.

    Every call ends by its timeout plus the client's grace. A method for one item returns its result, or raises. Its
    `*_many` twin returns one Outcome per item, in the order of the items: an item's error is in its outcome, and is not
    raised.

    In every method, txids and hashes are bytes, 32 of them, in wire order (the reverse of how they are displayed);
    amounts are satoshis; heights are block heights, below 2^32; `vout`, `vin` and child indices are below 2^32; and
    `timeout` is the seconds the call may take, None: as long as the client's own says.

    Every call may raise a Fault (docs/protocol.md, Codes), whose `executed` says whether it may have been executed
    ("unknown") or was not ("no"): NoAnswer, Overloaded, Unavailable, DeadlineExceeded, BadRequest (an item is not what
    docs/protocol.md says), or Fault itself. It raises ClientClosed where the client is closed, is the copy that a fork
    made, or the interpreter ends; and ValueError where the timeout is not a finite number above 0.
    """

    def __init__(
        self, endpoint: str | None = None, *, timeout: float = DEFAULT_TIMEOUT, grace: float = DEFAULT_GRACE
    ) -> None:
        """The daemon need not be there yet: what is asked before is sent when it is.

        endpoint: of the daemon, ipc:///PATH or tcp://HOST:PORT; None: the usual one (endpoint.py). timeout:
        seconds that a call may take which does not say otherwise. grace: seconds beyond the timeout in which an answer
        is still waited for.

        Raises zmq.ZMQError where the endpoint is invalid, ValueError where the timeout is not a finite number above 0,
        and OSError where fewer than 13 file descriptors (EMFILE) or hardly any threads (EAGAIN) are left: ZeroMQ would
        abort the process.
        """
        self._timeout = checked_timeout(timeout)
        check_headroom()
        self._driver = ThreadDriver(endpoint or default_endpoint(), grace)
        # Kept alive by this, what a client holds is closed in order, also where the garbage collector finds it.
        weakref.finalize(self, self._driver.on_collected).atexit = False

    def close(self) -> None:
        """Fails the calls that are pending at once, with NoAnswer ("unknown" for what was sent, "no" for the rest).

        Closing again does nothing. A client that is dropped unclosed is closed too, with a ResourceWarning.
        """
        self._driver.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_COPIED)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counters(self) -> Counters:
        """What the client has sent, what was answered, and what it has dropped; each since it was opened."""
        return self._driver.session.counters

    def _ask(self, question: Question[T], timeout: float | None) -> T:
        call = question.call
        call.deadline = time.monotonic() + (self._timeout if timeout is None else checked_timeout(timeout))
        return question.read(call if call.settled else self._driver.ask(call))
