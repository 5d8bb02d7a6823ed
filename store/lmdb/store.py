"""The embedded store: a set in LMDB files, shared by all processes of a host.

A batch is one write transaction, or one read transaction where it only reads. What `batch_operate` has returned is on
the disk, unless the store was opened with sync off. Where it raises, nothing of the batch was written, unless the error
is in doubt, as an error of the disk during the commit can be. A record that is damaged fails only the operations on it,
and is never taken for absent.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import lmdb
import msgpack

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
from store.layout import LAYOUT_VERSION, is_key
from store.set_settings import SetSettings, WantedSettings, check_settings, find_settings, no_set

from . import codec
from .emulation import LuaError, Rules
from .environment import Environment
from .settings import SettingsRecord, read_settings, write_settings
from .url import DEFAULT_MAP_BYTES
from .writer_lock import WriterLock

MAX_RECORD_BYTES: Final = 1 << 20  # as an Aerospike record


class EmbeddedStore:
    """directory: made where it is missing. sync: whether what is answered is on the disk. wanted: what the set's
    settings should be. map_bytes: how large the set can grow; where another process has made it larger, that holds.
    max_record_bytes: of a record, at most. Raises StoreError where it can't be opened, or where the set has other
    settings.

    A set of an older layout is read as it is; the first batch that writes raises its layout.

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
        self._rules = Rules()
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
            with self._lmdb_errors_translated(), errors_named(directory):
                self._settings = find_settings(SettingsRecord(self._environment, self._lock), wanted)
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
        if is_read_only(record_operations):
            with self._lmdb_errors_translated(), self._environment.begin() as transaction:
                return self._execute(transaction, record_operations, until)
        with self._lmdb_errors_translated(), self._lock.held(budget):
            try:
                return self._write_batch(record_operations, until)
            except lmdb.MapFullError:
                if not self._environment.adopt_map_size():
                    raise
            return self._write_batch(record_operations, until)

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
            settings = self._raise_layout(transaction)
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
        self._settings = settings
        return results

    @contextmanager
    def _lmdb_errors_translated(self) -> Iterator[None]:
        """An lmdb.Error raised within becomes a StoreError: nothing was written."""
        try:
            yield
        except lmdb.Error as error:
            raise self._store_error(error, in_doubt=False) from error

    def _store_error(self, error: Exception, in_doubt: bool) -> StoreError:
        if isinstance(error, lmdb.MapFullError):
            message = f"the set is full: reopen it with map_size above {self._environment.map_bytes} bytes"
            return StoreError(message, in_doubt=in_doubt)
        message = f"embedded store: {error} ({self._room()})"
        return StoreError(message, in_doubt=in_doubt, status=_status_of(error))

    def _room(self) -> str:
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError as error:
            return str(error)
        return f"{free} bytes are free on the disk of {self._directory}"

    def _execute_groups(
        self, transaction: Any, record_operations: Sequence[RecordOperation], until: float
    ) -> list[Result]:
        """What the operations of a group have changed is put back where not all of them were applied."""
        results: list[Result] = []
        for number, members in groupby(record_operations, group_of):
            group = list(members)
            keys = [] if number is None else [operation.key for operation in group if is_key(operation.key)]
            before = {key: transaction.get(key) for key in keys}
            group_results = self._execute(transaction, group, until)
            if before and not all(map(_is_applied, group_results)):
                _put_back(transaction, before)
            results += group_results
        return results

    def _execute(self, transaction: Any, record_operations: Sequence[RecordOperation], until: float) -> list[Result]:
        now = int(time.time())
        handlers = self._handlers
        results: list[Result] = []
        for operation in record_operations:
            if time.monotonic() > until:
                raise StoreError("the time is up: what was done of the batch is undone", in_doubt=False)
            if is_key(operation.key):
                try:
                    result = handlers[type(operation)](self, transaction, operation, now)
                except codec.Damaged as error:
                    result = Result(Status.ERROR, message=f"the record is damaged: {error}")
            else:
                result = Result(Status.ERROR, message=INVALID_KEY)
            result.key = operation.key
            results.append(result)
        return results

    def _get(self, transaction: Any, key: bytes, now: int) -> bytes | None:
        raw: bytes | None = transaction.get(key)
        if raw is None or 0 < codec.expiry(raw) <= now:
            return None
        return raw

    def _read(self, transaction: Any, read: Read, now: int) -> Result:
        raw = self._get(transaction, read.key, now)
        if raw is None:
            return Result(Status.NOT_FOUND)
        return Result(Status.OK, codec.read_bins(raw, read.bins))

    def _write(self, transaction: Any, write: Write, now: int) -> Result:
        raw = self._get(transaction, write.key, now)
        if raw is None and write.mode is Mode.UPDATE:
            return Result(Status.NOT_FOUND)
        if raw is not None and write.mode is Mode.CREATE:
            return Result(Status.EXISTS)
        if write.condition is not None and not _holds(raw, write.condition):
            return Result(Status.CONDITION_FALSE)
        expires = None if write.ttl is None else now + write.ttl
        before = codec.ABSENT if raw is None else codec.unpack_parts(raw)
        return self._save(transaction, write.key, before, write.bins, expires)

    def _remove(self, transaction: Any, remove: Remove, now: int) -> Result:
        raw = self._get(transaction, remove.key, now)
        if raw is None:
            return Result(Status.NOT_FOUND)
        if remove.condition is not None and not _holds(raw, remove.condition):
            return Result(Status.CONDITION_FALSE)
        transaction.delete(remove.key)
        return Result(Status.OK)

    def _call(self, transaction: Any, call: RuleCall, now: int) -> Result:
        raw = self._get(transaction, call.key, now)
        before = codec.ABSENT if raw is None else codec.unpack_parts(raw)
        parts = (None,) * 4 if raw is None else [part or None for part in before[1:]]
        try:
            packed, saved = self._rules.run(call.function.encode(), msgpack.packb(call.args), *parts)
        except (LuaError, TypeError, ValueError, OverflowError) as error:
            return Result(Status.ERROR, message=f"{call.function}: {str(error).partition(chr(10))[0]}")
        answer = codec.unpack(packed)
        if saved is not None:
            result = self._save(transaction, call.key, before, codec.unpack(saved), None)
            if result.status is not Status.OK:
                return result
        return Result(Status.OK, answer)

    def _save(
        self, transaction: Any, key: bytes, before: codec.Packed, bins: Mapping[str, Value], expires: int | None
    ) -> Result:
        try:
            packed = codec.apply(before, bins, expires)
        except (TypeError, ValueError, OverflowError) as error:
            return Result(Status.ERROR, message=f"a value cannot be stored: {error}")
        if len(packed) > self._max_record_bytes:
            message = f"the record would have {len(packed)} bytes, of {self._max_record_bytes} at most"
            return Result(Status.TOO_BIG, message=message)
        transaction.put(key, packed)
        return Result(Status.OK)

    _handlers: Final[dict[type, Callable[..., Result]]] = {Read: _read, Write: _write, Remove: _remove, RuleCall: _call}

    def _raise_layout(self, transaction: Any) -> SetSettings:
        """The settings as they are when the transaction, which writes records of this layout, is committed."""
        if self._settings.layout == LAYOUT_VERSION:
            return self._settings
        with errors_named(self._directory):
            kept = read_settings(transaction) or self._settings
            check_settings(kept, WantedSettings())
        raised = kept._replace(layout=LAYOUT_VERSION)
        write_settings(transaction, raised)
        return raised


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


def _holds(raw: bytes | None, condition: Mapping[str, Value]) -> bool:
    bins = {} if raw is None else codec.read_bins(raw, list(condition))
    return all(bins.get(name) == value for name, value in condition.items())
