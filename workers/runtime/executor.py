"""Runs one operation on one batch, whatever it raises: afterwards every item of the batch has its result or error."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import Store, StoreError

from .batch import Batch
from .context import DispatchContext
from .item_shape import Shape
from .store_errors import error_of_exception

log = logging.getLogger("utxod.worker")


class Operation(NamedTuple):
    """run: does the work of a dispatch. shape: of its items; None where it checks them by itself."""

    run: Callable[[DispatchContext], None]
    shape: Shape | None = None


class Executor:
    """operations: by name. budget: seconds one dispatch may take in the store. grace: seconds by which it may outlast
    them until its worker is ended. retention: blocks."""

    def __init__(
        self, operations: Mapping[str, Operation], store: Store, *, budget: float, retention: int, grace: float = 0.0
    ) -> None:
        self._operations = operations
        self._store = store
        self._budget = budget
        # The last call may begin when the worker is about to be ended, and the store has as long as the budget for it.
        self._landing_seconds = budget + grace + budget
        self._retention = retention

    def shape_of(self, operation: str) -> Shape | None:
        """The shape of its items."""
        known = self._operations.get(operation)
        return known and known.shape

    def run(self, operation: str, batch: Batch) -> None:
        """Completes every item of the batch, each exactly once."""
        deadline = time.monotonic() + self._budget
        context = DispatchContext(batch, self._store, self._retention, deadline, self._landing_seconds)
        try:
            self._operations[operation].run(context)
        except StoreError as error:
            # Where an earlier call of this dispatch came back, part of the item may be written.
            executed = UNKNOWN if error.in_doubt or context.may_have_written else NO
            context.store_error = error
            batch.fail_uncompleted(error_of_exception(error, executed))
        except Exception as error:
            log.exception("%s of %d items raised", operation, len(batch))
            batch.fail_uncompleted(error_of_exception(error, UNKNOWN if context.store_called else NO))
        if context.store_error is not None:
            log.warning("%s of %d items: the store failed: %s", operation, len(batch), context.store_error)
        context.notes.owe(batch)
        if batch.uncompleted():
            executed = UNKNOWN if context.store_called else NO
            batch.fail_uncompleted(Error(codes.INTERNAL, executed, f"{operation} left the item unanswered"))
        if batch.timed_out:
            log.warning("%s of %d items: the store did not answer in time", operation, len(batch))
        if batch.ignored:
            log.error("%s completed %d items a second time; ignored", operation, batch.ignored)
