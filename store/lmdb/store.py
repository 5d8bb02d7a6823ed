"""The embedded store: a set in LMDB files, shared by all processes of a host.

A batch is one write transaction, or one read transaction where it only reads. What `batch_operate` has returned is on
the disk, unless the store was opened with sync off. Where it raises, nothing of the batch was written, unless the error
is in doubt, as an error of the disk during the commit can be. A record that is damaged fails only the operations on it,
and is never taken for absent.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import lmdb

from store.blobs import FileBlobStore
from store.fork_guard import ForkGuard
from store.interface import (
    INVALID_KEY,
    Mode,
    Read,
    RecordOperation,
    Remove,
    Result,
    RuleCall,
    Status,
    StoreError,
    Value,
    Write,
    errors_named,
    group_of,
    is_read_only,
)
from store.layout import LARGE_BINS, is_key
from store.set_settings import WantedSettings, find_settings, no_set

from .environment import Environment, describe
from .record import UNSTORABLE, Damaged, Head, Record, pack_bins
from .rules import RULES
from .settings import SettingsRecord
from .url import DEFAULT_MAP_BYTES, render_embedded_url
from .writer_lock import WriterLock

MAX_RECORD_BYTES: Final = 1 << 20  # as an Aerospike record
_LARGE_BINS: Final = frozenset(LARGE_BINS)
_BETWEEN_LOOKS: Final = 16  # operations, between two looks at the clock


class EmbeddedStore:
    """directory: made where it is missing. sync: whether what is answered is on the disk. wanted: what the set's
    settings should be. map_bytes: how large the set can grow; where another process has made it larger, that holds.
    max_record_bytes: of a record, at most. Raises StoreError where it can't be opened, or where the set has other
    settings, or an older layout.

    There is one environment per process: do not use it after a fork, nor from two threads at once."""

    is_atomic: Final = True

    def __init__(
        self,
        directory: Path,
        *,
        sync: bool = True,
        wanted: WantedSettings = WantedSettings(),  # noqa: B008  # immutable
        map_bytes: int = DEFAULT_MAP_BYTES,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._fork_guard = ForkGuard()
        self._directory = directory
        self._max_record_bytes = max_record_bytes
        with ExitStack() as opened:
            try:
                if not wanted.create and not (directory / "data.mdb").exists():
                    with errors_named(directory):
                        raise no_set()
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.blobs = FileBlobStore(directory / "blobs", sync=sync)
                self._lock = WriterLock(directory / "writer.lock")
                opened.callback(self._lock.close)
                self._environment = Environment(directory, sync=sync, map_bytes=map_bytes)
                opened.callback(self._environment.close)
                self.clear_stale_readers()
            except (OSError, lmdb.Error) as error:
                message = f"{directory}: cannot be opened: {error}"
                raise StoreError(message, in_doubt=False, status=_status_of(error)) from error
            with errors_named(directory):
                try:
                    url = render_embedded_url(directory, sync=sync, map_bytes=map_bytes)
                    self._settings = find_settings(SettingsRecord(url, self._environment, self._lock), wanted)
                except lmdb.Error as error:
                    raise self._store_error(error, in_doubt=False) from error
            opened.pop_all()

    @property
    def utxo_batch_size(self) -> int:
        return self._settings.utxo_batch_size

    @property
    def genesis_height(self) -> int:
        return self._settings.genesis_height

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        """As Store says. budget: seconds; a batch that takes longer, waiting or working, changes nothing."""
        until = time.monotonic() + budget
        self._fork_guard.check()
        try:
            if is_read_only(record_operations):
                with self._environment.begin() as transaction:
                    return self._execute(transaction, record_operations, until)
            with self._lock.held(budget):
                try:
                    return self._write_batch(record_operations, until)
                except lmdb.MapFullError:
                    if not self._environment.adopt_map_size():
                        raise
                return self._write_batch(record_operations, until)
        except lmdb.Error as error:
            raise self._store_error(error, in_doubt=False) from error

    def clear_stale_readers(self) -> int:
        """Free the reader slots of processes that died, which keep old pages alive. Returns how many there were."""
        return self._environment.clear_stale_readers()

    def close(self) -> None:
        if self._fork_guard.is_same_process:
            self._environment.close()
        self._lock.close()

    def _write_batch(self, record_operations: Sequence[RecordOperation], until: float) -> list[Result]:
        """Raises lmdb.Error where nothing was written."""
        transaction = self._environment.begin(write=True)
        try:
            results = self._execute_groups(transaction, record_operations, until)
        except BaseException:
            transaction.abort()
            raise
        number = transaction.id()
        try:
            transaction.commit()
        except lmdb.Error as error:
            if self._environment.may_have_committed(number):
                raise self._store_error(error, in_doubt=True) from error
            raise
        return results

    def _store_error(self, error: Exception, in_doubt: bool) -> StoreError:
        if isinstance(error, lmdb.MapFullError):
            message = f"the set is full: reopen it with map_size above {self._environment.map_bytes} bytes"
            return StoreError(message, in_doubt=in_doubt)
        message = f"embedded store: {describe(error, self._directory)}"
        return StoreError(message, in_doubt=in_doubt, status=_status_of(error))

    def _execute_groups(
        self, transaction: Any, record_operations: Sequence[RecordOperation], until: float
    ) -> list[Result]:
        """What the operations of a group have changed is put back where not all of them were applied. (A group of one
        has changed nothing then.)"""
        groups = [group for group in map(group_of, record_operations) if group is not None]
        if len(set(groups)) == len(groups):
            return self._execute(transaction, record_operations, until)
        sizes = Counter(groups)

        def group_of_several(operation: RecordOperation) -> int | None:
            group = group_of(operation)
            return group if group is not None and sizes[group] > 1 else None

        results: list[Result] = []
        for group, members in groupby(record_operations, group_of_several):
            together = list(members)
            keys = [] if group is None else [operation.key for operation in together if is_key(operation.key)]
            before = {key: transaction.get(key) for key in keys}
            group_results = self._execute(transaction, together, until)
            if before and not all(map(_is_applied, group_results)):
                _put_back(transaction, before)
            results += group_results
        return results

    def _execute(self, transaction: Any, record_operations: Sequence[RecordOperation], until: float) -> list[Result]:
        now = int(time.time())
        handlers = self._handlers
        results: list[Result] = []
        for start in range(0, len(record_operations), _BETWEEN_LOOKS):
            if time.monotonic() > until:
                raise StoreError("the time is up: what was done of the batch is undone", in_doubt=False)
            for operation in record_operations[start : start + _BETWEEN_LOOKS]:
                key = operation.key
                if is_key(key):
                    try:
                        result = handlers[type(operation)](self, transaction, operation, now)
                    except Damaged as error:
                        result = Result(Status.ERROR, message=f"the record is damaged: {error}")
                else:
                    result = Result(Status.ERROR, message=INVALID_KEY)
                result.key = key
                results.append(result)
        return results

    def _read(self, transaction: Any, read: Read, now: int) -> Result:
        raw = transaction.get(read.key)
        if raw is None:
            return Result(Status.NOT_FOUND)
        names = read.bins
        part = Record if names is None or not _LARGE_BINS.isdisjoint(names) else Head
        found = part.unpack(read.key, raw)
        if 0 < found.expires <= now:
            return Result(Status.NOT_FOUND)
        return Result(Status.OK, found.read_bins(names))

    def _write(self, transaction: Any, write: Write, now: int) -> Result:
        if write.mode is Mode.CREATE and write.condition is None:
            return self._create(transaction, write, now)
        record = _get(transaction, write.key, now)
        if record is None and write.mode is Mode.UPDATE:
            return Result(Status.NOT_FOUND)
        if record is not None and write.mode is Mode.CREATE:
            return Result(Status.EXISTS)
        if write.condition is not None and not _holds(record, write.condition):
            return Result(Status.CONDITION_FALSE)
        return self._put_bins(transaction, write, now, record)

    def _create(self, transaction: Any, write: Write, now: int) -> Result:
        """Mostly there is no record: whether there is one is asked only where it could not be put."""
        result = self._put_bins(transaction, write, now, overwrite=False)
        if result.status is Status.OK:
            return result
        if _get(transaction, write.key, now) is not None:
            return Result(Status.EXISTS)
        return self._put_bins(transaction, write, now)

    def _remove(self, transaction: Any, remove: Remove, now: int) -> Result:
        try:
            record = _get(transaction, remove.key, now)
        except Damaged:
            if remove.condition is not None:
                raise
        else:
            if record is None:
                return Result(Status.NOT_FOUND)
            if remove.condition is not None and not _holds(record, remove.condition):
                return Result(Status.CONDITION_FALSE)
        transaction.delete(remove.key)
        return Result(Status.OK)

    def _call(self, transaction: Any, call: RuleCall, now: int) -> Result:
        rule = RULES.get(call.function)
        if rule is None:
            return Result(Status.ERROR, message=f"{call.function}: there is no such rule")
        record = _get(transaction, call.key, now)
        try:
            answer = rule(record, *call.args)
        except Damaged:
            raise
        except Exception as error:  # whatever it meets, it fails its record alone
            return Result(Status.ERROR, message=f"{call.function}: {error}")
        # A rule that refuses can have applied a part, which a group does not keep.
        is_kept = call.group is None or answer["status"] == "OK"
        if record is not None and record.is_changed and is_kept:
            try:
                packed = record.pack(call.key)
            except UNSTORABLE as error:
                return _unstorable(error)
            result = self._put(transaction, call.key, packed)
            if result.status is not Status.OK:
                return result
        return Result(Status.OK, answer)

    def _put_bins(
        self, transaction: Any, write: Write, now: int, record: Record | None = None, *, overwrite: bool = True
    ) -> Result:
        """record: what is there now. overwrite: as _put says."""
        bins, expires = write.bins, 0
        if record is not None:
            bins, expires = {**record.read_bins(), **bins}, record.expires
        if write.ttl is not None:
            expires = now + write.ttl
        try:
            packed = pack_bins(write.key, bins, expires)
        except ValueError as error:
            return _unstorable(error)
        return self._put(transaction, write.key, packed, overwrite=overwrite)

    def _put(self, transaction: Any, key: bytes, packed: bytes, *, overwrite: bool = True) -> Result:
        """overwrite: False where nothing may be there, not even what has expired."""
        if len(packed) > self._max_record_bytes:
            message = f"the record would have {len(packed)} bytes, of {self._max_record_bytes} at most"
            return Result(Status.TOO_BIG, message=message)
        is_put = transaction.put(key, packed, True, overwrite)  # named arguments take half as long as the put
        return Result(Status.OK if is_put else Status.EXISTS)

    _handlers: Final[dict[type, Callable[..., Result]]] = {Read: _read, Write: _write, Remove: _remove, RuleCall: _call}


def _get(transaction: Any, key: bytes, now: int) -> Record | None:
    """Raises Damaged."""
    raw = transaction.get(key)
    if raw is None:
        return None
    record = Record.unpack(key, raw)
    return None if 0 < record.expires <= now else record


def _unstorable(error: Exception) -> Result:
    return Result(Status.ERROR, message=f"a value cannot be stored: {error}")


def _status_of(error: Exception) -> Status:
    return Status.OVERLOADED if isinstance(error, lmdb.ReadersFullError) else Status.ERROR


def _is_applied(result: Result) -> bool:
    """Of an operation that changes a record."""
    return result.status is Status.OK and (result.value is None or result.value["status"] == "OK")


def _put_back(transaction: Any, before: Mapping[bytes, bytes | None]) -> None:
    """before: what was kept under each key; None: nothing."""
    for key, raw in before.items():
        if raw is None:
            transaction.delete(key)
        else:
            transaction.put(key, raw)


def _holds(record: Record | None, condition: Mapping[str, Value]) -> bool:
    bins = {} if record is None else record.read_bins(condition)
    return all(bins.get(name) == value for name, value in condition.items())
