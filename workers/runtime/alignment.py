"""Makes exactly one result per record operation of what the store returned. If one is missing or malformed, NO_RESULT
takes its place, so that it can't shift the others onto the wrong items."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from store import RecordOperation, Result, Status

NO_RESULT: Final = Result(Status.ERROR, None, in_doubt=True, message="the store gave no result that can be read")


def align(record_operations: Sequence[RecordOperation], results: Any) -> list[Result]:
    """One result per record operation, in their order. results: what the store returned."""
    if type(results) is not list:
        return [NO_RESULT] * len(record_operations)
    if len(results) != len(record_operations):
        return _align_by_key(record_operations, results)
    return [
        # As _is_result, which is too dear to be called for each.
        result
        if type(result) is Result
        and type(result.status) is Status
        and (result.key is None or result.key == record_operation.key)
        else NO_RESULT
        for record_operation, result in zip(record_operations, results, strict=True)
    ]


def are_timeouts(results: Any) -> bool:
    """Whether the store returned nothing but timeouts."""
    return type(results) is list and all(map(_is_timeout, results))


def _is_timeout(result: Any) -> bool:
    return _is_result(result) and result.status is Status.TIMEOUT


def _is_result(result: Any) -> bool:
    return type(result) is Result and type(result.status) is Status


def _align_by_key(record_operations: Sequence[RecordOperation], results: Sequence[Any]) -> list[Result]:
    """Of results that are too few, or too many. Where a key has not as many results as record operations, nobody can
    say which one is missing: all of that key are."""
    by_key: dict[bytes | None, list[Result]] = {}
    for result in results:
        if _is_result(result):
            by_key.setdefault(result.key, []).append(result)
    wanted: Counter[bytes | None] = Counter(operation.key for operation in record_operations)
    queues = {key: iter(found) for key, found in by_key.items() if len(found) == wanted.get(key, 0)}
    return [next(queues[operation.key]) if operation.key in queues else NO_RESULT for operation in record_operations]
