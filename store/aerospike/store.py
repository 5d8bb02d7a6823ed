"""The Aerospike store: a set in an Aerospike cluster, where the rules run inside the server.

A batch is one request for each node, at most, and its operations are atomic one by one, not together. Reads are
repeated by the client within the call's time; writes and rules never: an increment that was applied twice would make
live coins prunable. No more operations are sent at once than every node takes.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from aerospike import exception
from aerospike_helpers.batch import records as batch

from store.blobs import FileBlobStore, NoBlobStore
from store.fork_guard import ForkGuard
from store.interface import (
    INVALID_KEY,
    BlobStore,
    Read,
    RecordOperation,
    Result,
    RuleCall,
    Status,
    StoreError,
    errors_named,
    is_read_only,
)
from store.layout import is_key
from store.rules import rules_source
from store.set_settings import find_settings

from .batch_records import (
    NOT_SENT,
    Translator,
    call_policy,
    code_of,
    is_without_module,
    mark_unsent,
    to_result,
    unsent_error,
)
from .cluster import MEND_SECONDS, client_errors_named
from .connection import connect
from .failure_log import FailureLog
from .fitness import batch_limit, check_addresses, check_namespace, holds_records
from .indexes import make_indexes
from .result_codes import BATCH_FAILED, BATCH_TOO_LARGE, CLIENT_ERROR, OK, TIMEOUT, describe
from .rules_module import ModuleWatch, register_module
from .settings import LAYOUT, SettingsRecord, settings_set
from .url import AerospikeUrl

OPEN_BUDGET: Final = 10.0  # seconds

_VALUE_ERRORS: Final = frozenset({-2, -1, 4, 21})  # what the client says of a value that it can't send


T = TypeVar("T")

_Answered = tuple[RecordOperation, Any, Result]  # with the client's record in between


class _Unsendable(Exception):
    """The client cannot send a value."""


_NOT_ALIKE: Final[Any] = object()


class AerospikeStore:
    """Raises StoreError where the cluster cannot be reached, or cannot serve the set; its message says what to do.

    The client has threads of its own: a store is opened in the process that uses it, after any fork."""

    is_atomic: Final = False

    def __init__(self, url: AerospikeUrl) -> None:
        self._fork_guard = ForkGuard()
        self._url = url
        self._client = connect(url)
        self._failures = FailureLog()
        try:
            self._open(time.monotonic() + OPEN_BUDGET)
        except BaseException:
            self.close()
            raise

    def _open(self, until: float) -> None:
        url, source = self._url, rules_source()
        silent: set[str] = set()
        with client_errors_named(f"{url}: cannot be asked about itself"):
            check_namespace(self._client, url, silent)
            check_addresses(self._client, url, silent)
            self._limit = batch_limit(self._client, silent)
            module = register_module(self._client, source, until - time.monotonic(), silent)
            self._watch = ModuleWatch(self._client, source)
            self._translator = Translator(url.namespace, url.set, module)
            self._settings_record = SettingsRecord(self._run_settings, self._holds_records, until)
            with errors_named(url):
                kept = find_settings(self._settings_record, url.wanted)
        self._layout = kept.layout
        self.utxo_batch_size, self.genesis_height = kept.utxo_batch_size, kept.genesis_height
        make_indexes(self._client, url.namespace, url.set, silent)
        self.blobs: BlobStore = NoBlobStore() if url.blobs is None else _open_blobs(url.blobs)

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        """As Store says. budget: seconds, the total timeout of the client's calls."""
        self._fork_guard.check()
        until = time.monotonic() + budget
        if (bins := _bins_of_all(record_operations)) is not _NOT_ALIKE:
            found = self._read(record_operations, bins, until)
            if found is not None:
                return found
        if self._layout != LAYOUT and not is_read_only(record_operations):
            self._settings_record.raise_layout(until - time.monotonic())
            self._layout = LAYOUT
        results: list[Result | None] = [None] * len(record_operations)
        for wave in _waves(record_operations):
            self._run_wave(record_operations, wave, results, until)
        return results  # type: ignore[return-value]  # every operation is in one wave

    def close(self) -> None:
        if self._fork_guard.is_same_process:
            self._client.close()

    def _read(self, reads: Sequence[RecordOperation], bins: Sequence[str] | None, until: float) -> list[Result] | None:
        """Reads of the same bins: the client has a call for them that costs half of what batch_write does. None where
        it cannot be done that way, because a value cannot be sent, or cannot be decoded."""
        results: list[Result] = []
        for chunk in self._chunks(reads):
            found = self._read_chunk(chunk, bins, until)
            if found is None:
                return None
            results += found
        return results

    def _read_chunk(
        self, reads: Sequence[RecordOperation], bins: Sequence[str] | None, until: float
    ) -> list[Result] | None:
        budget = until - time.monotonic()
        if budget <= 0:
            raise unsent_error(TIMEOUT)
        keys = [self._translator.key(read.key) for read in reads]
        try:
            found = self._client.batch_read(keys, bins, call_policy(budget, self._url.read_retries))
        except exception.AerospikeError as error:
            if error.code in _VALUE_ERRORS:
                return None
            raise self._unsent(reads, CLIENT_ERROR if error.code is None else error.code) from error
        if found.result in _VALUE_ERRORS:
            return None
        if len(found.batch_records) != len(reads):
            if found.result in (OK, BATCH_FAILED):
                return None
            raise self._unsent(reads, found.result)
        results = [
            Result(Status.OK, batch_record.record[2], False, "", read.key)
            if batch_record.result == OK
            else to_result(read, batch_record, found.result)
            for read, batch_record in zip(reads, found.batch_records, strict=True)
        ]
        self._note_failures(list(zip(reads, found.batch_records, results, strict=True)), found.result)
        return results

    def _run_wave(
        self,
        record_operations: Sequence[RecordOperation],
        wave: Sequence[int],
        results: list[Result | None],
        until: float,
    ) -> None:
        """wave: indexes of the operations that are executed now. results: by index, to be filled in."""
        sent: list[tuple[int, Any]] = []  # index of the operation, the client's record
        for index in wave:
            operation = record_operations[index]
            if not is_key(operation.key):
                results[index] = Result(Status.ERROR, message=INVALID_KEY, key=operation.key)
                continue
            try:
                sent.append((index, self._translator.to_batch_record(operation)))
            except ValueError as error:
                results[index] = Result(Status.ERROR, message=str(error), key=operation.key)
        is_read = is_read_only([record_operations[index] for index, _ in sent])
        code = None
        for chunk in self._chunks(sent):
            try:
                code = self._send([batch_record for _, batch_record in chunk], is_read, until)
            except _Unsendable:
                self._send_alone(record_operations, chunk, results, until)
                continue
            answered: list[_Answered] = []
            for index, batch_record in chunk:
                result = results[index] = to_result(record_operations[index], batch_record, code)
                answered.append((record_operations[index], batch_record, result))
            self._note_failures(answered, code)
        is_unsent = len(sent) == len(record_operations) and all(
            batch_record.result is NOT_SENT for _, batch_record in sent
        )
        if code is not None and is_unsent:
            raise unsent_error(code)

    def _chunks(self, whole: Sequence[T]) -> Iterator[Sequence[T]]:
        """What is sent at once; the limit may be learnt anew in between."""
        start = 0
        while start < len(whole):
            chunk = whole[start : start + (self._limit or len(whole))]
            yield chunk
            start += len(chunk)

    def _send(self, batch_records: list[Any], is_read: bool, until: float) -> int:
        """The client's code for the call as a whole. Raises _Unsendable where the client cannot send a value: nothing
        was sent."""
        budget = until - time.monotonic()
        if budget <= 0:
            return TIMEOUT
        request = batch.BatchRecords(batch_records)
        try:
            self._client.batch_write(request, call_policy(budget, self._url.read_retries if is_read else 0))
        except exception.AerospikeError as error:
            if any(batch_record.result is not NOT_SENT for batch_record in batch_records):
                return OK  # it was executed, but a result can't be decoded
            if error.code in _VALUE_ERRORS:
                raise _Unsendable(error.msg) from error
            return CLIENT_ERROR if error.code is None else error.code
        except (TypeError, ValueError, OverflowError, SystemError) as error:
            raise _Unsendable(str(error)) from error
        mark_unsent(batch_records)
        return int(request.result)

    def _send_alone(
        self,
        record_operations: Sequence[RecordOperation],
        sent: Sequence[tuple[int, Any]],
        results: list[Result | None],
        until: float,
    ) -> None:
        """One after the other: a value that cannot be stored fails its own operation only."""
        for index, batch_record in sent:
            operation = record_operations[index]
            try:
                code = self._send([batch_record], type(operation) is Read, until)
                results[index] = to_result(operation, batch_record, code)
            except _Unsendable as error:
                results[index] = Result(Status.ERROR, message=f"a value cannot be sent: {error}", key=operation.key)

    def _note_failures(self, answered: Sequence[_Answered], batch_code: int) -> None:
        """Says in the log what failed, and mends what can be mended."""
        failed = [
            (operation, batch_record, result)
            for operation, batch_record, result in answered
            if result.message and result.status is not Status.TOO_BIG
        ]
        if not failed:
            return
        counted: dict[tuple[str, int], list[str]] = {}
        for operation, batch_record, result in failed:
            counted.setdefault((_name(operation), code_of(batch_record, batch_code)), []).append(result.message)
        for (what, code), messages in counted.items():
            self._failures.failed(what, code, messages[0], len(messages))
        if any(is_without_module(batch_record) for _, batch_record, _ in failed):
            self._watch.look()
        if any(code == BATCH_TOO_LARGE for _, code in counted):
            self._learn_limit()

    def _unsent(self, record_operations: Sequence[RecordOperation], code: int) -> StoreError:
        """The error of a call of which nothing was sent."""
        self._failures.failed(_name(record_operations[0]), code, describe(code), len(record_operations))
        if code == BATCH_TOO_LARGE:
            self._learn_limit()
        return unsent_error(code)

    def _learn_limit(self) -> None:
        with contextlib.suppress(exception.AerospikeError):  # then it stays as it was
            self._limit = batch_limit(self._client, seconds=MEND_SECONDS)

    def _holds_records(self) -> bool:
        return holds_records(self._client, self._url.namespace, self._url.set)

    def _run_settings(self, operation: RecordOperation, budget: float) -> Result:
        """Execute it in the set of the settings."""
        translator = Translator(self._url.namespace, settings_set(self._url.set), "")
        batch_record = translator.to_batch_record(operation)
        code = self._send([batch_record], type(operation) is Read, time.monotonic() + budget)
        return to_result(operation, batch_record, code)


def _open_blobs(directory: Path) -> FileBlobStore:
    try:
        return FileBlobStore(directory)
    except OSError as error:
        raise StoreError(f"blobs={directory}: {error}", in_doubt=False) from error


def _name(operation: RecordOperation) -> str:
    return operation.function if type(operation) is RuleCall else type(operation).__name__.lower()


def _bins_of_all(record_operations: Sequence[RecordOperation]) -> Any:
    """The bins that all of the operations read (None: every one), as a list; _NOT_ALIKE where they read different ones,
    or not all of them are reads."""
    first = record_operations[0] if record_operations else None
    if type(first) is not Read or (not first.bins and first.bins is not None):
        return _NOT_ALIKE
    bins = first.bins
    for operation in record_operations:
        if type(operation) is not Read or (operation.bins is not bins and operation.bins != bins):
            return _NOT_ALIKE
        if not is_key(operation.key):
            return _NOT_ALIKE
    return None if bins is None else list(bins)


def _waves(record_operations: Sequence[RecordOperation]) -> list[list[int]]:
    """Indexes of operations that may be executed side by side: a key that is written to comes once in each wave, since
    the server keeps no order within a batch. Nearly always there is one wave."""
    if len({operation.key for operation in record_operations}) == len(record_operations) or is_read_only(
        record_operations
    ):
        return [list(range(len(record_operations)))]
    waves: list[list[int]] = []
    earlier: dict[bytes, int] = {}
    for index, operation in enumerate(record_operations):
        turn = earlier.get(operation.key, 0)
        earlier[operation.key] = turn + 1
        if turn == len(waves):
            waves.append([])
        waves[turn].append(index)
    return waves
