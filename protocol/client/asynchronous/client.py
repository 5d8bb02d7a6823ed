"""The client for asyncio. Its twin is generated: tests/protocol/generate_blocking.py."""

import functools
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, NoReturn, TypeVar

from ...endpoint import default_endpoint
from ..asyncio_driver import AsyncioDriver
from ..driver import NOT_COPIED
from ..headroom import check_headroom
from ..questions import Question
from ..results import Outcome
from ..session import Counters
from ..timeouts import DEFAULT_GRACE, DEFAULT_TIMEOUT, checked_timeout
from .asker import same_of
from .iterating import Preparing, iterate
from .outputs import OutputAsker
from .retrying import Retrying
from .transactions import TransactionAsker

T = TypeVar("T")


class AsyncClient(TransactionAsker, OutputAsker):
    """A client of one daemon. It is made, used and closed within one running event loop: in another loop its calls
    raise ClientClosed, and nothing is sent. A call that is cancelled is forgotten: what it asked may be executed all
    the same.

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
        self._driver = AsyncioDriver(endpoint or default_endpoint(), grace)
        # Kept alive by this, what a client holds is closed in order, also where the garbage collector finds it.
        weakref.finalize(self, self._driver.on_collected).atexit = False

    async def close(self) -> None:
        """Fails the calls that are pending at once, with NoAnswer ("unknown" for what was sent, "no" for the rest).

        Closing again does nothing. A client that is dropped unclosed is closed too, with a ResourceWarning.
        """
        await self._driver.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_COPIED)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def counters(self) -> Counters:
        """What the client has sent, what was answered, and what it has dropped; each since it was opened."""
        return self._driver.session.counters

    async def retry(self, method: Callable[..., Awaitable[T]], /, *arguments: Any, within: float, **options: Any) -> T:
        """Asks as the method does, and again while that is safe:
        `await client.retry(client.accept, raw, block_height=5, within=30.0)`.

        method: of this client, one that asks the daemon. arguments, options: its own; a `timeout` among them is that of
        each attempt. within: seconds for all attempts; the call ends by then plus the client's grace.

        Asked again is what was not executed for a reason that passes (a daemon that is not there, starts anew, is
        overloaded, or can't reach its store; CREATING, ABANDONED), and what may have been executed (`executed` is
        "unknown"), unless the operation is one that does more when it is asked twice: freeze, unfreeze, reassign,
        increment. Of a `*_many` method only the items are asked again for which that holds. Between two attempts it
        pauses for as long as the daemon says, or else for longer each time.

        Returns what the method does, and raises the error of the last attempt that left: of one that found no daemon in
        time only where none did, or the client was closed. `executed` there speaks of all attempts: where one may
        have been executed it is "unknown", though the last was not, also for a Rejection. What was executed by an
        attempt that was not answered, `create` finds there: TxExists, with "unknown". Raises TypeError where `method`
        is not such a method, and ValueError where `within` is not a finite number above 0.
        """
        again = same_of(Retrying(self._driver, self._timeout, within), self, method)
        result: T = await again(*arguments, **options)
        return result

    def iter_many(
        self, method: Callable[..., Awaitable[list[Outcome[T]]]], items: Iterable[Any], **options: Any
    ) -> AsyncGenerator[Outcome[T], None]:
        """Asks as a `*_many` method does, of any number of items, in memory that does not grow with them:
        `async for outcome in client.iter_many(client.spend_many, spends): ...`

        method: a `*_many` method of this client. items: its items; they are taken as they are needed, some thousands
        ahead of the outcomes. options: its other arguments; a `timeout` among them is that of each batch.

        Yields one outcome per item, in order, while the next ones are under way. An exception of the input is raised
        after the outcomes of what came before it. What is under way when the generator is closed is forgotten: it may
        be executed all the same. Raises TypeError where `method` is not such a method.
        """
        prepare = same_of(Preparing(self._timeout, self), self, method)
        if not prepare.__name__.endswith("_many"):
            raise TypeError(f"{method!r}: it takes a method for many items, such as client.get_many")
        return iterate(functools.partial(prepare, **options), self._driver, items)

    async def _ask(self, question: Question[T], timeout: float | None) -> T:
        call = question.call
        call.deadline = time.monotonic() + (self._timeout if timeout is None else checked_timeout(timeout))
        return question.read(call if call.settled else await self._driver.ask(call))
