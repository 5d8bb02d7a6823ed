"""Load: who asks a daemon again and again, each in a thread of its own, until it is enough."""

import contextlib
import functools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import psutil

from bench.waiters import HEIGHT, OUTPUTS
from protocol import Client, ClientClosed, CreateItem, Outcome, UtxodError, codes
from tests.support.patience import until

# Whether all of what was asked went well.
Ask = Callable[[Client], bool]
# Who is refused does not come back at once.
_REFUSED_SECONDS: Final = 0.05


class Answer(NamedTuple):
    """at: when, seconds, monotonic. outcomes: of the creation of these, one by one."""

    at: float
    txids: list[bytes]
    outcomes: list[Outcome[Any]]


class Load:
    """Callers that create until they are told to stop, or lose their daemon or their client, and remember what they are
    answered. items: of each request. asked: the txids, answered or not."""

    def __init__(self, client: Client, threads: int = 8, items: int = 1) -> None:
        self.codes: Counter[str] = Counter()
        self.asked: list[bytes] = []
        self.answers: list[Answer] = []
        self._client, self._items = client, items
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        until(lambda: self.codes["OK"] > 50, within=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def created(self) -> list[bytes]:
        """The txids of all that is acknowledged."""
        return [
            txid
            for answer in self.answers
            for txid, outcome in zip(answer.txids, answer.outcomes, strict=True)
            if outcome.ok
        ]

    def _run(self) -> None:
        while not self._stop.is_set():
            txids = _new(self._items)
            self.asked += txids
            try:
                outcomes = _create(self._client, txids)
            except ClientClosed as closed:
                self.codes.update([closed.code] * self._items)  # at once, for all threads: += is not
                return
            self.answers.append(Answer(time.monotonic(), txids, outcomes))
            self.codes.update(outcome.code for outcome in outcomes)
            if any(outcome.code in (codes.SHUTTING_DOWN, codes.NO_ANSWER) for outcome in outcomes):
                return


@contextlib.contextmanager
def repeated(*actions: Callable[[], object], every: float) -> Iterator[threading.Event]:
    """Each of the actions again and again, in a thread of its own; what is given ends them, as leaving does. every:
    seconds between two of one; somewhat longer after one that said False, or could not ask the daemon just then."""
    ended = threading.Event()

    def run(action: Callable[[], object]) -> None:
        while not ended.is_set():
            said: object = False
            with contextlib.suppress(UtxodError, ProcessLookupError, psutil.NoSuchProcess):
                said = action()
            ended.wait(max(every, _REFUSED_SECONDS) if said is False else every)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield ended
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def load(endpoint: str, ask: Ask, callers: int = 2, timeout: float = 10.0, pause: float = 0.0) -> Iterator[None]:
    """Callers that are a submitter each, and ask again once they have their answer. timeout: seconds, of each call.
    pause: seconds between two of a caller's; longer after what did not go well."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(endpoint, timeout=timeout)) for _ in range(callers)]
        with repeated(*(functools.partial(ask, client) for client in clients), every=pause) as ended:
            try:
                yield
            finally:
                ended.set()
                stack.close()  # whose answers nobody waits for any more


def creating(items: int = 1, *, reads: bool = False) -> Ask:
    """reads: what was created, too."""

    def ask(client: Client) -> bool:
        txids = _new(items)
        outcomes = _create(client, txids)
        if reads:
            outcomes += client.get_many(txids, ["txID"])
        return all(outcome.ok for outcome in outcomes)

    return ask


def looking(items: int = 1) -> Ask:
    """For what is not there."""
    return lambda client: all(outcome.code == codes.TX_NOT_FOUND for outcome in client.get_many(_new(items)))


def _new(items: int) -> list[bytes]:
    return [secrets.token_bytes(32) for _ in range(items)]


def _create(client: Client, txids: Sequence[bytes]) -> list[Outcome[Any]]:
    return client.create_many([CreateItem.partial(txid, OUTPUTS, block_height=HEIGHT) for txid in txids])
