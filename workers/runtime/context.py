"""The context of one dispatch, which its operation is given: the batch, the store within the one time budget, and the
settings.

What bars the creation of a transaction (store.layout.ABANDONED) stands at its key in a store without groups: here it is
not seen, but by a read that names its bin.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from store import Read, RecordOperation, Result, Status, Store, StoreError
from store.layout import ABANDONED

from .alignment import NO_RESULT, align, are_timeouts
from .batch import Batch
from .notes import Notes

log = logging.getLogger("utxod.worker")


class DispatchContext:
    """retention: blocks after which a spent transaction may be deleted. deadline: seconds, monotonic: the dispatch's
    budget ends here. landing_seconds: for how long from its beginning a dispatch's last step may still land in the
    store. store_called: whether the store was called. may_have_written: whether a call has come back that was to
    write. store_error: the latest that the store raised, whoever has dealt with it; None: it raised none."""

    def __init__(self, batch: Batch, store: Store, retention: int, deadline: float, landing_seconds: float) -> None:
        self.batch = batch
        self.store = store
        self.retention = retention
        self.landing_seconds = landing_seconds
        self.notes = Notes()
        self.store_called = False
        self.may_have_written = False
        self.store_error: StoreError | None = None
        self._store_answered = False  # to something, and in time
        self._deadline = deadline

    def operate(self, record_operations: Sequence[RecordOperation]) -> list[Result]:
        """One result per record operation, in their order. Raises StoreError, also where the budget is used up."""
        results = self.read(record_operations)
        self.may_have_written = self.may_have_written or bool(record_operations)
        return results

    def read(self, record_operations: Sequence[RecordOperation]) -> list[Result]:
        """As `operate`, for reads that come before all else: a dispatch that fails after them has executed nothing."""
        if not record_operations:
            return []
        self.check_budget()
        self.store_called = True
        reads = Read in map(type, record_operations)
        hides = reads and not self.store.is_atomic
        asked = list(map(_with_bar, record_operations)) if hides else record_operations
        with self.store_time():
            results = self._ask(asked)
        self._store_answered = self._store_answered or not are_timeouts(results)
        self.batch.timed_out = not self._store_answered
        aligned = align(asked, results)
        if reads:
            aligned = list(map(_readable, record_operations, aligned))
        return list(map(_without_bar, record_operations, aligned)) if hides else aligned

    def _ask(self, record_operations: Sequence[RecordOperation]) -> list[Result]:
        try:
            return self.store.batch_operate(record_operations, self._deadline - time.monotonic())
        except StoreError as error:
            self.store_error = error
            raise

    def try_operate(self, record_operations: Sequence[RecordOperation]) -> list[Result]:
        """As `operate`, for what comes after others' work is done: where the store fails the batch, with whatever it
        raises, each of its records fails, and nothing else of the dispatch."""
        try:
            return self.operate(record_operations)
        except StoreError as error:
            return [
                Result(error.status, None, error.in_doubt, str(error), operation.key) for operation in record_operations
            ]
        except Exception:
            log.exception("the store raised what no store should")
            return [NO_RESULT] * len(record_operations)

    @contextmanager
    def store_time(self) -> Iterator[None]:
        """What is done meanwhile, a call of the store or of its blobs, is told as the store's time, whatever comes of
        it."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.batch.store_seconds += time.monotonic() - began

    def check_budget(self) -> None:
        """Raises StoreError where the budget is used up: before work that the store's budget does not bind."""
        if time.monotonic() >= self._deadline:
            raise StoreError("the dispatch's time is used up", in_doubt=False)


def _readable(operation: RecordOperation, result: Result) -> Result:
    """What was read of a record is a map of its bins, or can't be read."""
    if type(operation) is Read and result.status is Status.OK and type(result.value) is not dict:
        return NO_RESULT
    return result


def _with_bar(operation: RecordOperation) -> RecordOperation:
    """A read asks for one bin more."""
    if not isinstance(operation, Read) or operation.bins is None or ABANDONED in operation.bins:
        return operation
    return Read(operation.key, (*operation.bins, ABANDONED))


def _without_bar(operation: RecordOperation, result: Result) -> Result:
    """As if there were no record, where the read has not asked for the bin."""
    if not isinstance(operation, Read) or type(result.value) is not dict or ABANDONED not in result.value:
        return result
    is_asked_for = operation.bins is not None and ABANDONED in operation.bins
    return result if is_asked_for else Result(Status.NOT_FOUND, key=result.key)
