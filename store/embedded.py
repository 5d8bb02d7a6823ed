"""The embedded store: LMDB in a directory, shared by all processes of a host.

A batch is one write transaction, or one read transaction where it only reads; what `batch_operate` has returned is on
the disk, unless the store was opened with sync off. Where it raises, nothing of the batch was written, unless the error
says that it is in doubt, as one of the disk while committing can be.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import lmdb
import msgpack

from . import codec
from .blobs import BlobStore
from .emulation import LuaError, Rules
from .layout import DEFAULT_UTXO_BATCH_SIZE
from .seam import Call, Mode, Read, Record, Remove, Result, Status, StoreError, Value, Write
from .writer_lock import WriterLock

LAYOUT_VERSION: Final = 1
DEFAULT_MAP_BYTES: Final = 256 << 30  # sparse: only what is written takes room
MAX_RECORD_BYTES: Final = 1 << 20  # as an Aerospike record
MAX_READERS: Final = 1024
OPEN_BUDGET: Final = 10.0  # seconds to wait for the writers' lock

_KEY_SIZES: Final = (32, 36)
_SETTINGS_KEY: Final = b"settings"


class EmbeddedStore:
    """directory: made where it is missing. utxo_batch_size: outputs per record; None takes the set's own, or the
    default for a new set. map_bytes: how large the set can grow. Raises StoreError where it can't be opened, or where
    the set was made with another layout or utxo_batch_size.

    One environment per process: it is not to be used after a fork, nor by two threads at once."""

    is_atomic: Final = True

    def __init__(
        self,
        directory: Path,
        *,
        sync: bool = True,
        utxo_batch_size: int | None = None,
        map_bytes: int = DEFAULT_MAP_BYTES,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._pid = os.getpid()
        self._directory = directory
        self._map_bytes = map_bytes
        self._max_record_bytes = max_record_bytes
        self._rules = Rules()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.blobs = BlobStore(directory / "blobs", sync=sync)
            self._lock = WriterLock(directory / "writer.lock")
            self._environment = lmdb.open(
                str(directory),
                map_size=map_bytes,
                max_readers=MAX_READERS,
                sync=sync,
                metasync=sync,
                readahead=False,
                max_spare_txns=2,
                mode=0o600,
            )
        except (OSError, lmdb.Error) as error:
            raise StoreError(f"{directory}: cannot be opened: {error}", in_doubt=False) from error
        try:
            self.clear_stale_readers()
            self.utxo_batch_size = self._check_settings(directory, utxo_batch_size)
        except BaseException:
            self.close()
            raise

    def batch_operate(self, records: Sequence[Record], budget: float) -> list[Result]:
        """As the seam says. budget: seconds; a batch that outlasts it, waiting or working, changes nothing."""
        until = time.monotonic() + budget
        if os.getpid() != self._pid:
            raise StoreError(
                "the embedded store was opened before a fork: open it anew in this process", in_doubt=False
            )
        if all(type(record) is Read for record in records):
            return self._read_batch(records, until)
        with self._lock.held(budget):
            return self._write_batch(records, until)

    def clear_stale_readers(self) -> int:
        """Free the reader slots of processes that died, which keep old pages alive. Returns how many there were."""
        return int(self._environment.reader_check())

    def close(self) -> None:
        if os.getpid() == self._pid:
            self._environment.close()
        self._lock.close()

    def _read_batch(self, records: Sequence[Record], until: float) -> list[Result]:
        try:
            with self._environment.begin() as transaction:
                return self._execute(transaction, records, until)
        except lmdb.Error as error:
            raise StoreError(f"embedded store: {error}", in_doubt=False) from error

    def _write_batch(self, records: Sequence[Record], until: float) -> list[Result]:
        transaction = None
        try:
            transaction = self._environment.begin(write=True)
            results = self._execute(transaction, records, until)
        except BaseException as error:
            if transaction is not None:
                transaction.abort()
            if isinstance(error, lmdb.Error):
                raise self._store_error(error, in_doubt=False) from error
            raise
        number = transaction.id()
        try:
            transaction.commit()
        except lmdb.Error as error:
            raise self._store_error(error, in_doubt=self._may_be_committed(number)) from error
        return results

    def _may_be_committed(self, number: int) -> bool:
        """Whether a write transaction whose commit failed is, or may be, part of the set. (LMDB reports a full disk as
        any other error of it.)"""
        try:
            with self._environment.begin() as transaction:
                return bool(transaction.id() >= number)
        except lmdb.Error:
            return True

    def _store_error(self, error: Exception, in_doubt: bool) -> StoreError:
        if isinstance(error, lmdb.MapFullError):
            message = f"the set is full: reopen it with map_size above {self._map_bytes} bytes"
        else:
            free = shutil.disk_usage(self._directory).free
            message = f"embedded store: {error} ({free} bytes are free on the disk of {self._directory})"
        return StoreError(message, in_doubt=in_doubt)

    def _execute(self, transaction: Any, records: Sequence[Record], until: float) -> list[Result]:
        now = int(time.time())
        handlers = self._handlers
        results: list[Result] = []
        for record in records:
            if time.monotonic() > until:
                message = f"the time is up, with {len(results)} of {len(records)} records done; they are undone"
                raise StoreError(message, in_doubt=False)
            key = record.key
            if type(key) is bytes and len(key) in _KEY_SIZES:
                result = handlers[type(record)](self, transaction, record, now)
            else:
                result = Result(Status.ERROR, message="a key has 32 or 36 bytes")
            result.key = key
            results.append(result)
        return results

    def _get(self, transaction: Any, key: bytes, now: int) -> bytes | None:
        raw: bytes | None = transaction.get(key)
        if raw is None or 0 < codec.expiry(raw) <= now:
            return None
        return raw

    def _read(self, transaction: Any, record: Read, now: int) -> Result:
        raw = self._get(transaction, record.key, now)
        if raw is None:
            return Result(Status.NOT_FOUND)
        return Result(Status.OK, codec.read_bins(raw, record.bins))

    def _write(self, transaction: Any, record: Write, now: int) -> Result:
        raw = self._get(transaction, record.key, now)
        if raw is None and record.mode is Mode.UPDATE:
            return Result(Status.NOT_FOUND)
        if raw is not None and record.mode is Mode.CREATE:
            return Result(Status.EXISTS)
        if record.condition is not None and not _holds(raw, record.condition):
            return Result(Status.CONDITION_FALSE)
        expires = None if record.ttl is None else now + record.ttl
        before = codec.ABSENT if raw is None else codec.split(raw)
        return self._save(transaction, record.key, before, record.bins, expires)

    def _remove(self, transaction: Any, record: Remove, now: int) -> Result:
        raw = self._get(transaction, record.key, now)
        if raw is None:
            return Result(Status.NOT_FOUND)
        if record.condition is not None and not _holds(raw, record.condition):
            return Result(Status.CONDITION_FALSE)
        transaction.delete(record.key)
        return Result(Status.OK)

    def _call(self, transaction: Any, record: Call, now: int) -> Result:
        raw = self._get(transaction, record.key, now)
        before = codec.ABSENT if raw is None else codec.split(raw)
        parts = (None,) * 4 if raw is None else [part or None for part in before[1:]]
        try:
            answer, saved = self._rules.run(record.function.encode(), msgpack.packb(record.args), *parts)
        except (LuaError, TypeError, ValueError, OverflowError) as error:
            return Result(Status.ERROR, message=f"{record.function}: {str(error).partition(chr(10))[0]}")
        if saved is not None:
            result = self._save(transaction, record.key, before, codec.unpack(saved), None)
            if result.status is not Status.OK:
                return result
        return Result(Status.OK, codec.unpack(answer))

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

    _handlers: Final[dict[type, Callable[..., Result]]] = {Read: _read, Write: _write, Remove: _remove, Call: _call}

    def _check_settings(self, directory: Path, utxo_batch_size: int | None) -> int:
        """The set's utxo_batch_size. A new set gets its settings."""
        with self._environment.begin() as transaction:
            packed: bytes | None = transaction.get(_SETTINGS_KEY)
        if packed is None:
            packed = self._write_settings(utxo_batch_size or DEFAULT_UTXO_BATCH_SIZE)
        try:
            settings = codec.unpack(packed)
            layout, kept = settings["layout"], settings["utxo_batch_size"]
        except (ValueError, TypeError, KeyError) as error:
            problem = "its settings can't be read: it is damaged, or no set of utxod's"
            raise StoreError(f"{directory}: {problem}", in_doubt=False) from error
        if layout != LAYOUT_VERSION:
            problem = f"its layout has version {layout}, this program's {LAYOUT_VERSION}"
            raise StoreError(f"{directory}: {problem}", in_doubt=False)
        if utxo_batch_size not in (None, kept):
            problem = f"the set was made with utxo_batch_size={kept}, which cannot be changed to {utxo_batch_size}"
            raise StoreError(f"{directory}: {problem}", in_doubt=False)
        return int(kept)

    def _write_settings(self, utxo_batch_size: int) -> bytes:
        """The settings that stand: another process may have been first."""
        settings = msgpack.packb({"layout": LAYOUT_VERSION, "utxo_batch_size": utxo_batch_size})
        try:
            with self._lock.held(OPEN_BUDGET), self._environment.begin(write=True) as transaction:
                transaction.put(_SETTINGS_KEY, settings, overwrite=False)
                return transaction.get(_SETTINGS_KEY) or settings
        except lmdb.Error as error:
            raise self._store_error(error, in_doubt=False) from error


def _holds(raw: bytes | None, condition: Mapping[str, Value]) -> bool:
    bins = {} if raw is None else codec.read_bins(raw, list(condition))
    return all(bins.get(name) == value for name, value in condition.items())
