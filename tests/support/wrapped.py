"""Stores in front of another: what a store does that is no store of ours, or what happens while it is asked."""

from collections.abc import Callable, Sequence
from typing import Any

from store import RecordOperation, Result, RuleCall, Status, Store, Write


class Wrapped:
    """A store in front of another."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class RecordByRecord(Wrapped):
    """A store that takes record by record, each call of a rule and each write by itself."""

    is_atomic = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        return [self._inner.batch_operate([operation], budget)[0] for operation in record_operations]


class Recording(Wrapped):
    """A store that notes what it is asked. batches: the operations of each call."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.batches: list[list[Any]] = []

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        self.batches.append(list(record_operations))
        return list(self._inner.batch_operate(record_operations, budget))


class Meanwhile(Wrapped):
    """Something else happens, once, before a call with an operation that is recognised. happened: whether it has."""

    def __init__(
        self, inner: Store, recognises: Callable[[RecordOperation], bool], happens: Callable[[], object]
    ) -> None:
        super().__init__(inner)
        self._recognises, self._happens = recognises, happens
        self.happened = False

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if not self.happened and any(map(self._recognises, record_operations)):
            self.happened = True
            self._happens()
        return list(self._inner.batch_operate(record_operations, budget))


class Silent(Wrapped):
    """A store that gives no answer in time to a batch with an operation that is recognised, and does nothing of it."""

    def __init__(self, inner: Store, recognises: Callable[[RecordOperation], bool] = lambda _: True) -> None:
        super().__init__(inner)
        self._recognises = recognises

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        if any(map(self._recognises, record_operations)):
            return [Result(Status.TIMEOUT, None, True, "no answer", each.key) for each in record_operations]
        return list(self._inner.batch_operate(record_operations, budget))


def writes(key: bytes) -> Callable[[RecordOperation], bool]:
    return lambda operation: isinstance(operation, Write) and operation.key == key


def calls(function: str) -> Callable[[RecordOperation], bool]:
    """function: a rule's name."""
    return lambda operation: isinstance(operation, RuleCall) and operation.function == function
