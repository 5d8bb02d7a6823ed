"""Shorter words for what tests do with a store."""

from typing import Any

from store import Mode, Read, RecordOperation, Result, Status, Store, Write

KEY, OTHER = b"k" * 32, b"o" * 32
BUDGET = 30.0


def run(store: Store, *operations: RecordOperation) -> list[Result]:
    return store.batch_operate(operations, BUDGET)


def create(store: Store, key: bytes = KEY, **bins: Any) -> None:
    assert run(store, Write(key, bins, Mode.CREATE))[0].status is Status.OK


def read(store: Store, key: bytes = KEY) -> Any:
    return run(store, Read(key))[0].value


def statuses(results: list[Result]) -> list[str]:
    return [result.status.value for result in results]
