"""The conversion of a set of an older layout to this program's, record by record, in steps.

Layouts 1 and 2 keep a record as

    bytes 0-3    unix time, in seconds, at which the record is gone (uint32 LE), 0: never
    bytes 4-15   lengths of the next three parts (uint32 LE)
    the parts    a map of the small bins; the bins utxos, inputs and outputs, each alone (empty: no such bin);
                 MessagePack each

A step converts the next records in the order of their keys, and notes in the set's settings how far it came, in one
transaction of LMDB. So a conversion that ends anywhere, by whatever cause, goes on from there. What has this program's
layout already, by its checksum, stays as it is: in a set whose settings were lost some records can have it. From the
first step to the last the set is refused to whoever opens it: to older programs by its layout, to this one by the note.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import lmdb
import msgpack

from store.interface import StoreError, errors_named
from store.layout import LARGE_BINS, TXID_BYTES, child_index, is_key
from store.set_settings import (
    WantedSettings,
    check_settings,
    new_settings,
    no_set,
    unknown_layout,
    unreadable_settings,
)

from .environment import Environment, describe
from .record import Damaged, is_record, pack_bins
from .settings import (
    LAYOUT,
    LOCK_BUDGET,
    OLD_LAYOUTS,
    SETTINGS_KEY,
    Converted,
    Kept,
    make_settings,
    read_settings,
    write_settings,
)
from .writer_lock import WriterLock

_STEP_RECORDS: Final = 2000
_STEP_BYTES: Final = 16 << 20

_HEADER = struct.Struct("<4I")
_FLOCK = struct.Struct("hhqqi4x")  # Linux's struct flock: type, whence, start, length, process id


class Conversion:
    """directory: of the set. sync: whether a step is on the disk before the next one begins. map_bytes: how large the
    set can grow. wanted: what the set's settings should be, and are where it has lost them and may be adopted.
    keep_damaged: a record that is damaged stays as it is, and as damaged, and does not end the conversion; nor does
    what has no record's key. step_records: of one step, at most. Raises StoreError where there is no set, it has other
    settings, or it cannot be converted now."""

    def __init__(
        self,
        directory: Path,
        *,
        sync: bool,
        map_bytes: int,
        wanted: WantedSettings = WantedSettings(),  # noqa: B008  # immutable
        keep_damaged: bool = False,
        step_records: int = _STEP_RECORDS,
    ) -> None:
        self._directory = directory
        self._keep_damaged = keep_damaged
        self._step_records = step_records
        self.damaged: list[bytes] = []  # keys, of what stays as it is, though it is no record of this layout
        self.done = 0
        with ExitStack() as opened, self._errors_translated():
            if not (directory / "data.mdb").exists():
                raise no_set()
            # Closing this file gives up every lock of this process on it, LMDB's own too: so it is closed last.
            self._lock_file = os.open(directory / "lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, self._lock_file)
            self._writer_lock = WriterLock(directory / "writer.lock")
            opened.callback(self._writer_lock.close)
            self._environment = Environment(directory, sync=sync, map_bytes=map_bytes)
            opened.callback(self._environment.close)
            kept, records = self._look(wanted)
            self.is_needed = kept.converted is not None or kept.settings.layout != LAYOUT
            self.done = kept.converted.records if kept.converted else 0
            self.total = records
            if self.is_needed:
                self._refuse_others()
            self._opened = opened.pop_all()

    def steps(self) -> Iterator[int]:
        """Converts what is not yet converted; yields the number of records of each step once it is kept. Raises
        StoreError where it cannot go on; what was converted is kept then."""
        if not self.is_needed:
            return
        with self._errors_translated():
            self._begin()
            # Whoever opened the set before it was refused has it open still.
            self._refuse_others()
            while count := self._step():
                self.done += count
                yield count

    def close(self) -> None:
        self._opened.close()

    def _look(self, wanted: WantedSettings) -> tuple[Kept, int]:
        """The settings, and the number of records."""
        with self._environment.begin() as transaction:
            is_lost, entries = read_settings(transaction) is None, transaction.stat()["entries"]
        if is_lost:
            if not entries:
                raise no_set()
            settings = new_settings(wanted, LAYOUT, holds_records=True)
            with self._writing() as transaction:
                make_settings(transaction, settings)
        with self._environment.begin() as transaction:
            kept = _settings_of(transaction)
            check_settings(kept.settings, wanted)
            return kept, transaction.stat()["entries"] - 1

    def _refuse_others(self) -> None:
        """Raises StoreError where another process has the set open: LMDB keeps a lock on the first byte then."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
        kind, *_, holder = _FLOCK.unpack(fcntl.fcntl(self._lock_file, fcntl.F_GETLK, asked))
        if kind != fcntl.F_UNLCK:
            who = f"process {holder}" if holder else "a process outside this container"
            raise StoreError(f"{who} has the set open: end the daemon, or whatever it is", in_doubt=False)

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """A transaction that is committed where nothing is raised within."""
        with self._writer_lock.held(LOCK_BUDGET), self._environment.begin(write=True) as transaction:
            yield transaction

    def _begin(self) -> None:
        """From here on the set is refused to whoever opens it."""
        with self._writing() as transaction:
            kept = _settings_of(transaction)
            if kept.settings.layout != LAYOUT:
                write_settings(transaction, Kept(kept.settings._replace(layout=LAYOUT), Converted(b"", 0)))

    def _step(self) -> int:
        """The number of records that it converted; 0 once all are."""
        with self._writing() as transaction:
            kept = _settings_of(transaction)
            if kept.converted is None:
                return 0
            records = self._next_records(transaction, kept.converted.key)
            for key, raw in records:
                converted = self._converted(key, raw)
                if converted is not raw:
                    transaction.put(key, converted)
            came = Converted(records[-1][0], kept.converted.records + len(records)) if records else None
            write_settings(transaction, kept._replace(converted=came))
        return len(records)

    def _next_records(self, transaction: Any, after: bytes) -> list[tuple[bytes, bytes]]:
        records: list[tuple[bytes, bytes]] = []
        size = 0
        cursor = transaction.cursor()
        if not cursor.set_range(after + b"\0"):  # the least key above it
            return records
        for key, raw in cursor:
            if key != SETTINGS_KEY:
                records.append((key, raw))
                size += len(raw)
                if len(records) == self._step_records or size > _STEP_BYTES:
                    break
        return records

    def _converted(self, key: bytes, raw: bytes) -> bytes:
        try:
            if not is_key(key):
                raise Damaged(f"key {key.hex()} is no record's key")
            return raw if is_record(key, raw) else _convert(key, raw)
        except Damaged as error:
            if not self._keep_damaged:
                problem = (
                    f"{error}. What was converted is kept. Put the set back from a copy; or ask again with "
                    "--keep-damaged: it stays as it is then, and who asks for it is told so"
                )
                raise StoreError(problem, in_doubt=False) from error
            self.damaged.append(key)
            return raw

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        """What is raised within becomes a StoreError that names the set."""
        with errors_named(self._directory):
            try:
                yield
            except lmdb.MapFullError as error:
                room = self._environment.map_bytes
                problem = (
                    "the set is full: a record can be larger than it was. What was converted is kept; ask again with "
                    f"map_size above {room} bytes in the URL"
                )
                raise StoreError(problem, in_doubt=False) from error
            except (lmdb.Error, OSError) as error:
                kept = (
                    f". {self.done} records are converted, and stay so; ask again once it is mended"
                    if self.done
                    else ""
                )
                problem = f"cannot be converted: {describe(error, self._directory)}{kept}"
                raise StoreError(problem, in_doubt=False) from error


def _settings_of(transaction: Any) -> Kept:
    """Raises StoreError where they can't be read, or are of a layout that this program does not know."""
    kept = read_settings(transaction)
    if kept is None:
        raise unreadable_settings()
    if kept.settings.layout not in (*OLD_LAYOUTS, LAYOUT):
        raise unknown_layout(kept.settings.layout, LAYOUT)
    return kept


def _convert(key: bytes, raw: bytes) -> bytes:
    """A record of an older layout as one of this layout. Raises Damaged that names it."""
    try:
        expires, *sizes = _HEADER.unpack_from(raw)
        parts = []
        at = _HEADER.size
        for size in sizes:
            parts.append(raw[at : at + size])
            at += size
        if at > len(raw):
            raise Damaged("cut off")
        bins = _unpack(parts[0])
        for name, part in zip(LARGE_BINS, (*parts[1:], raw[at:]), strict=True):
            bins[name] = _unpack(part) if part else None
        if bins.get("txID", key[:TXID_BYTES]) != key[:TXID_BYTES]:
            raise Damaged("it is another transaction's")
        return pack_bins(key, bins, expires)
    except (Damaged, struct.error, ValueError, TypeError, AttributeError) as error:
        which = f"record {child_index(key)} of transaction {key[TXID_BYTES - 1 :: -1].hex()}"
        raise Damaged(f"{which} is damaged: {error}") from error


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, strict_map_key=False)
