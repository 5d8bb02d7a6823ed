"""The context of one dispatch, which its operation is given: the batch, the store within the one time budget, and the
settings."""

import time
from collections.abc import Sequence

from store import RecordOperation, Result, Store, StoreError

from .alignment import align, are_timeouts
from .batch import Batch
from .notes import Notes


class DispatchContext:
    """retention: blocks after which a spent transaction may be deleted. deadline: seconds, monotonic: the dispatch's
    budget ends here. store_called: whether the store was called. may_have_written: whether a call has come back that
    was to write."""

    def __init__(self, batch: Batch, store: Store, retention: int, deadline: float) -> None:
        self.batch = batch
        self.store = store
        self.retention = retention
        self.notes = Notes()
        self.store_called = False
        self.may_have_written = False
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
        budget = self._deadline - time.monotonic()
        self.store_called = True
        results = self.store.batch_operate(record_operations, budget)
        self._store_answered = self._store_answered or not are_timeouts(results)
        self.batch.timed_out = not self._store_answered
        return align(record_operations, results)

    def try_operate(self, record_operations: Sequence[RecordOperation]) -> list[Result]:
        """As `operate`, for what comes after others' work is done: where the store fails the batch, each of its records
        fails, and nothing else of the dispatch."""
        try:
            return self.operate(record_operations)
        except StoreError as error:
            return [
                Result(error.status, None, error.in_doubt, str(error), operation.key) for operation in record_operations
            ]

    def check_budget(self) -> None:
        """Raises StoreError where the budget is used up: before work that the store's budget does not bind."""
        if time.monotonic() >= self._deadline:
            raise StoreError("the dispatch's time is used up", in_doubt=False)
