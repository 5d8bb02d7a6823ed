"""The seven operations of the field, asked of a real daemon that several tests share; each of its own transaction."""

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from bench.waiters import ASK, HEIGHT, OUTPUTS
from broker.scheduling import POOL_OF_REQUEST, POOLS, READ_POOL, WRITE_POOL
from protocol import Client, CreateItem, UtxodError, codes
from protocol.client.timeouts import DEFAULT_GRACE
from store import Read
from store.layout import record_key
from tests.support.callers import txid as txid_of
from tests.support.daemon import Daemon, running_daemon
from tests.support.patience import until

SEVEN = tuple(ASK)
NOTHING_ENDS_IT = {"broker.budget_seconds": 30, "broker.grace_seconds": 60}
_TRANSACTIONS = 200
_STORE_OPTIONS = "&utxo_batch_size=1"  # two outputs, and so a child record


class Answer(NamedTuple):
    """at: when, seconds, monotonic. result: None where there is an error."""

    code: str
    executed: str
    at: float
    result: Any = None
    error: UtxodError | None = None

    @property
    def verdict(self) -> tuple[str, str]:
        return self.code, self.executed


class Service:
    """A daemon, a client, and transactions that nobody has asked anything of. grace: the client's, in seconds."""

    def __init__(self, daemon: Daemon, grace: float) -> None:
        self.daemon = daemon
        self.client = daemon.client(grace=grace)
        self._threads = ThreadPoolExecutor(64)
        self._numbers = itertools.count(1)
        prepared = [
            CreateItem.partial(txid_of(number), OUTPUTS, block_height=HEIGHT) for number in range(1, _TRANSACTIONS)
        ]
        # Asked again: where its limits are short, a busy machine's first dispatch may take too long.
        until(lambda: {outcome.code for outcome in self.client.create_many(prepared)} <= {"OK", "TX_EXISTS"}, within=60)

    def close(self) -> None:
        self.client.close()
        self._threads.shutdown()

    def fresh(self, operation: str) -> bytes:
        """The txid of a transaction to ask this of."""
        number = next(self._numbers)
        return txid_of(number + _TRANSACTIONS if operation == "create" else number)

    def ask(self, operation: str, txid: bytes, timeout: float = 30.0, client: Client | None = None) -> Future[Answer]:
        method: Any = ASK[operation]  # written for the other kind of client; both have the same methods

        def call() -> Answer:
            try:
                result = method(client or self.client, txid, timeout)
            except UtxodError as error:
                return Answer(error.code, error.executed, time.monotonic(), error=error)
            return Answer("OK", "", time.monotonic(), result)

        return self._threads.submit(call)

    def hand_out(self, operation: str, txid: bytes, timeout: float = 30.0) -> Future[Answer]:
        """Asks, and returns once a worker has it in its hands: asked again where its time was over before."""
        pool = POOL_OF_REQUEST[operation]
        before = self.daemon.status()["pools"][pool]["dispatches"]

        def asked() -> Future[Answer] | None:
            future = self.ask(operation, txid, timeout)
            until(lambda: is_handed_out() or future.done())
            return future if is_handed_out() else None

        def is_handed_out() -> bool:
            return bool(self.daemon.status()["pools"][pool]["dispatches"] > before)

        handed_out: Future[Answer] = until(asked, within=60)
        return handed_out

    def line_up(self, operation: str, txid: bytes, timeout: float = 30.0) -> Future[Answer]:
        """Asks, and returns once it waits in its pool's queue."""
        pool = POOL_OF_REQUEST[operation]
        before = self.daemon.status()["pools"][pool]["queued"]
        future = self.ask(operation, txid, timeout)
        self.daemon.wait_until(lambda status: status["pools"][pool]["queued"] > before)
        return future

    def kill_worker(self, operation: str) -> float:
        """SIGKILL to the operation's one worker; when."""
        (worker,) = self.daemon.workers(POOL_OF_REQUEST[operation])
        killed = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        return killed

    def record(self, txid: bytes) -> Mapping[str, Any] | None:
        """The master record as it stands, None where there is none."""
        with self.daemon.store() as store:
            value: Mapping[str, Any] | None = store.batch_operate([Read(record_key(txid, 0))], 30)[0].value
            return value

    def serves(self, operation: str) -> bool:
        """Whether it does, as soon as no breaker is open."""
        txid = self.fresh(operation)
        answer = until(lambda: told if (told := self.ask(operation, txid).result()).code != "UNAVAILABLE" else None)
        if answer.code == codes.WORKER_CRASHED:  # it got no processor within a short limit, and the breaker has opened
            return self.serves(operation)
        return bool(answer.code == "OK")


@contextlib.contextmanager
def serving(
    directory: Path, settings: Mapping[str, Any], store_kind: str, grace: float = DEFAULT_GRACE
) -> Iterator[Service]:
    """At the end the daemon, where it still runs, is told to end, and must leave nothing. grace: of its client."""
    with running_daemon(directory, settings, store_kind, _STORE_OPTIONS) as daemon:
        daemon.wait_until(
            lambda status: all(
                status["pools"][name]["workers"] == settings.get(f"workers.{name}", 1) for name in POOLS
            ),
            within=60,
        )
        with contextlib.closing(Service(daemon, grace)) as service:
            yield service


def is_read(operation: str) -> bool:
    return POOL_OF_REQUEST[operation] == READ_POOL


def of_another_pool(operation: str) -> str:
    return "get" if POOL_OF_REQUEST[operation] == WRITE_POOL else "create"
