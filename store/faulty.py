"""A store that injects faults into another: for tests, and for runs that break things on purpose.

A fault is a map: `kind`, and where they apply `times` (batches it hits, 1 by default, null: all), `index` (which
operation of the batch, 0 by default), `function` (only batches with a call of that rule), `seconds` (of a delay),
`after` (true: a hang or delay comes when the batch has been executed; false by default).
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .interface import BlobStore, RecordOperation, Result, RuleCall, Status, Store, StoreError, group_of

_POLL: Final = 0.01  # seconds

Fault = dict[str, Any]


class FileFaults:
    """Faults from a JSON file (a list of them), read anew whenever it was changed. No file: no faults."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._faults: list[Fault] = []

    def __call__(self) -> list[Fault]:
        try:
            with self._path.open() as file:  # may be replaced, or taken away, as soon as it is open
                status = os.fstat(file.fileno())
                stamp = (status.st_mtime_ns, status.st_ino)
                if stamp != self._stamp:
                    self._faults, self._stamp = json.load(file), stamp
        except FileNotFoundError:
            self._stamp, self._faults = None, []
        return self._faults


class FaultyStore:
    """inner: the store that does the work. plan: the faults, or a function that gives the list of those in force.
    atomic: whether it passes for a store whose batches are one whole; None: as `inner`.

    kinds: `raise_before` and `raise_after` (the batch is not executed, or it is), `drop` (a result is missing: the list
    is shorter), `none` (None stands in its place), `malform` (it has no shape a caller knows), `fail` (ERROR, and the
    operation is not executed), `time_out` (no answer until the budget is used up, and nobody knows what became of it),
    `hang` (until the fault is taken off the list), `delay`.
    """

    def __init__(
        self, inner: Store, plan: Iterable[Fault] | Callable[[], list[Fault]], *, atomic: bool | None = None
    ) -> None:
        self._inner = inner
        self.is_atomic = inner.is_atomic if atomic is None else atomic
        faults = plan if callable(plan) else list(plan)
        self._faults: Callable[[], list[Fault]] = faults if callable(faults) else lambda: faults

    @property
    def utxo_batch_size(self) -> int:
        return self._inner.utxo_batch_size

    @property
    def genesis_height(self) -> int:
        return self._inner.genesis_height

    @property
    def blobs(self) -> BlobStore:
        return self._inner.blobs

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        fault = self._take(record_operations)
        if fault is None:
            return self._inner.batch_operate(record_operations, budget)
        kind, index = fault["kind"], fault.get("index", 0)
        if kind == "raise_before":
            raise StoreError("injected: before the batch", in_doubt=False)
        if kind == "fail":
            return self._fail(record_operations, index, budget)
        if kind == "time_out":
            time.sleep(budget)
            return [
                Result(Status.TIMEOUT, None, True, "injected: no answer", operation.key)
                for operation in record_operations
            ]
        if fault.get("after"):
            results = self._inner.batch_operate(record_operations, budget)
            self._wait(fault)
            return results
        self._wait(fault)
        return _spoil(self._inner.batch_operate(record_operations, budget), kind, index)

    def _fail(self, record_operations: Sequence[RecordOperation], index: int, budget: float) -> list[Result]:
        """The operation is not executed, nor is the rest of its group, which would be put back."""
        group = group_of(record_operations[index])
        failed = [
            place == index or (group is not None and group_of(operation) == group)
            for place, operation in enumerate(record_operations)
        ]
        rest = [operation for operation, fails in zip(record_operations, failed, strict=True) if not fails]
        results = iter(self._inner.batch_operate(rest, budget) if rest else [])
        return [
            Result(Status.ERROR, message="injected", key=operation.key) if fails else next(results)
            for operation, fails in zip(record_operations, failed, strict=True)
        ]

    def _wait(self, fault: Fault) -> None:
        if fault["kind"] == "delay":
            time.sleep(fault["seconds"])
        elif fault["kind"] == "hang":
            while any(listed["kind"] == "hang" for listed in self._faults()):
                time.sleep(_POLL)

    def close(self) -> None:
        self._inner.close()

    def _take(self, record_operations: Sequence[RecordOperation]) -> Fault | None:
        """The first fault that applies, counted down."""
        for fault in self._faults():
            times = fault.setdefault("times", 1)
            if times == 0 or not _applies(fault, record_operations):
                continue
            if times is not None and fault["kind"] not in ("hang", "time_out"):
                fault["times"] = times - 1
            return fault
        return None


def _applies(fault: Mapping[str, Any], record_operations: Sequence[RecordOperation]) -> bool:
    if fault.get("index", 0) >= len(record_operations):
        return False
    function = fault.get("function")
    return function is None or any(
        isinstance(operation, RuleCall) and operation.function == function for operation in record_operations
    )


def _spoil(results: list[Any], kind: str, index: int) -> list[Any]:
    if kind == "raise_after":
        raise StoreError("injected: after the batch", in_doubt=True)
    if kind == "drop":
        del results[index]
    elif kind == "none":
        results[index] = None
    elif kind == "malform":
        # A write's result has no value that could be malformed; its status can be.
        status = Status.OK if results[index].value is not None else "injected: no status that a caller knows"
        results[index] = Result(status, "injected: no shape that a caller knows")  # type: ignore[arg-type]
    return results
