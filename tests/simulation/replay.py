"""A worker's dispatch, one batch of records at a time: the real operations, run again from the start each time with the
results that the store has given so far.

An operation is a function of those results, so running it again leads to the same place. Where it asks the store for
more, it is left there, and what it asks for is told. So a dispatch can be held between any two records, as long as one
likes, beside any number of others, and can be forgotten there: that is how its worker dies.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from protocol.worker_wire import Assignment, FollowUp
from store import RecordOperation, Result, StoreError
from store.layout import DEFAULT_GENESIS_HEIGHT
from workers.runtime.batch import Batch
from workers.runtime.creation import options, under_lock
from workers.runtime.executor import Executor
from workers.runtime.operations import OPERATION_BY_NAME

RETENTION: Final = 288
_FAR: Final = 1e9  # seconds: no dispatch runs out of time here

# A batch that the store was asked for, and what it gave, or raised.
Exchange = tuple[list[RecordOperation], list[Result] | StoreError]


class Job(NamedTuple):
    """What a worker is given to do. token: what it would draw by chance; no two dispatches have the same. now: on the
    daemon's clock, in microseconds."""

    operation: str
    assignments: tuple[Assignment, ...]
    bodies: tuple[bytes, ...]
    token: bytes = b""
    now: int = 0


class Finished(NamedTuple):
    """What a worker answers: a reply header and a reply body per request, and the work that follows."""

    replies: tuple[bytes, ...]
    follow_ups: tuple[FollowUp, ...]
    timed_out: bool


class NotRepeatable(BaseException):
    """Run again, the operation asked for something else."""


class _Asks(BaseException):
    """Leaves the operation where it asks for records whose results are not there yet."""

    def __init__(self, records: Sequence[RecordOperation]) -> None:
        super().__init__()
        self.records = list(records)


class Replayer:
    """is_atomic: whether the store's batches are one whole."""

    def __init__(self, *, utxo_batch_size: int = 1, is_atomic: bool = False) -> None:
        self._utxo_batch_size = utxo_batch_size
        self.is_atomic = is_atomic

    def advance(self, job: Job, history: Sequence[Exchange]) -> list[RecordOperation] | Finished:
        """The records that the dispatch asks for next, or its end."""
        store = _Recorded(history, self._utxo_batch_size, self.is_atomic)
        executor = Executor(OPERATION_BY_NAME, store, budget=_FAR, retention=RETENTION)
        batch = Batch(job.assignments, job.bodies, job.now, executor.shape_of(job.operation))
        with _chance(job):
            try:
                executor.run(job.operation, batch)
            except _Asks as asks:
                return asks.records
        return Finished(tuple(batch.replies()), tuple(batch.follow_ups), batch.timed_out)


def run_through(replayer: Replayer, job: Job, take: Callable[[list[RecordOperation]], list[Result]]) -> Finished:
    """The whole dispatch at once. take: does a batch on what there is."""
    history: list[Exchange] = []
    while isinstance(asked := replayer.advance(job, history), list):
        history.append((asked, take(asked)))
    return asked


@contextmanager
def _chance(job: Job) -> Iterator[None]:
    """The operations that draw by chance, and look at the clock."""
    if job.operation not in ("create", "accept"):
        yield
        return
    with (
        patch.object(under_lock, "secrets", SimpleNamespace(token_bytes=lambda _: job.token)),
        patch.object(options, "time", SimpleNamespace(time_ns=lambda: 0)),
    ):
        yield


class _NoBlobs:
    """Where large transactions would lie: nothing here reads them."""

    def put_new(self, *_: Any) -> None:
        pass

    replace = remove = put_new

    def has_whole(self, txid: bytes) -> bool:
        return True


class _Recorded:
    """A store that gives the results that were given before, and then leaves the operation."""

    def __init__(self, history: Sequence[Exchange], utxo_batch_size: int, is_atomic: bool) -> None:
        self.is_atomic = is_atomic
        self.utxo_batch_size = utxo_batch_size
        self.genesis_height = DEFAULT_GENESIS_HEIGHT
        self.blobs: Any = _NoBlobs()
        self._history = iter(history)

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        for asked, results in self._history:
            if list(record_operations) != asked:
                raise NotRepeatable(f"{record_operations}, where it was {asked}")
            if isinstance(results, StoreError):
                raise results
            return list(results)
        raise _Asks(record_operations)

    def close(self) -> None:
        pass
