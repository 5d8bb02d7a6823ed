"""The LMDB environment of an embedded store, kept usable whatever other processes do to the set.

A transaction begins unless the host refuses memory or the disk fails. Once that is over, the next one begins without
anybody's help: the map grows when another process has made it larger, the slots of dead readers are freed, and an
environment that LMDB has given up, or whose locks' file was removed, is opened again. Nothing is written once another
set is at its path.
"""

import shutil
from pathlib import Path
from typing import Any, Final

import lmdb

from store.interface import StoreError

from .in_place import check_in_place, is_in_place, look

_MAX_READERS: Final = 1024


def describe(error: Exception, directory: Path) -> str:
    """What LMDB said of this set, and the room on its disk: a full one is "Input/output error" to LMDB."""
    try:
        room = f"{shutil.disk_usage(directory).free} bytes are free on the disk of {directory}"
    except OSError as unknown:
        room = str(unknown)
    return f"{error} ({room})"


class Environment:
    """directory: must exist. sync: whether a commit waits until it is on the disk. map_bytes: how large the set can
    grow, unless another process made it larger. Raises StoreError where there is no memory for such a map, lmdb.Error
    where anything else is wrong.

    One for a directory and process; do not use it from two threads at once."""

    def __init__(self, directory: Path, *, sync: bool, map_bytes: int) -> None:
        self._directory = directory
        self._data = directory / "data.mdb"
        self._locks = directory / "lock.mdb"
        self._sync = sync
        self._map_bytes = map_bytes
        self._environment = self._open()
        self._opened = self._data.stat()
        self._locks_opened = look(self._locks)

    @property
    def map_bytes(self) -> int:
        """How large the set can grow now."""
        return self._map_bytes if self._environment is None else int(self._environment.info()["map_size"])

    def begin(self, *, write: bool = False) -> Any:
        """A transaction of LMDB. Raises StoreError or lmdb.Error where none can begin now."""
        if write:
            check_in_place(self._data, self._opened)
        try:
            return self._ready().begin(write=write)
        except lmdb.Error as error:
            self._mend(error)
        return self._ready().begin(write=write)

    def may_have_committed(self, number: int) -> bool:
        """Whether the write transaction of this number, whose commit failed, is or may be part of the set. (LMDB's
        error for a full disk is that for any other failure of the disk.)"""
        try:
            with self._ready().begin() as transaction:
                return bool(transaction.id() >= number)
        except (lmdb.Error, StoreError):
            return True

    def adopt_map_size(self) -> bool:
        """Take over the size of the map from the process that made it largest. False where it is no larger than ours,
        or there is no memory for it: then the map of the next transaction is as large as there is memory for."""
        environment = self._ready()
        before = environment.info()["map_size"]
        try:
            environment.set_mapsize(0)
            after = environment.info()["map_size"]
            if after < before:
                environment.set_mapsize(before)
        except lmdb.Error:
            self._give_up()  # it has no map any more
            return False
        return bool(after > before)

    def clear_stale_readers(self) -> int:
        """Free the reader slots of processes that died. Returns how many there were."""
        return int(self._ready().reader_check())

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()

    def _mend(self, error: lmdb.Error) -> None:
        """Remove what kept a transaction from beginning. Raises the error where that cannot be done."""
        if isinstance(error, lmdb.MapResizedError):
            self.adopt_map_size()
        elif isinstance(error, lmdb.ReadersFullError):
            self.clear_stale_readers()
        elif isinstance(error, lmdb.PanicError):
            self._give_up()  # writing a meta page failed: LMDB refuses everything until it is opened anew
        else:
            raise error

    def _ready(self) -> Any:
        is_locked = is_in_place(self._locks, self._locks_opened)
        if not is_locked and self._environment is not None and is_in_place(self._data, self._opened):
            # Who opens the set now makes another: neither would know of the other's commits, and undo them.
            self._give_up()
        if self._environment is None:
            check_in_place(self._data, self._opened)
            self._environment = self._open()
            self._locks_opened = look(self._locks)
        return self._environment

    def _give_up(self) -> None:
        self.close()
        self._environment = None

    def _open(self) -> Any:
        try:
            return lmdb.open(
                str(self._directory),
                map_size=self._map_bytes,  # at least what the set takes up, whatever this says
                max_readers=_MAX_READERS,
                sync=self._sync,
                metasync=self._sync,
                readahead=False,
                max_spare_txns=2,
                mode=0o600,
            )
        except (lmdb.MemoryError, OverflowError) as error:
            raise StoreError(
                f"{self._directory}: no memory for a map of map_size={self._map_bytes} bytes. It takes address space, "
                "not memory: raise the process's limit of it (ulimit -v), or name a smaller map_size in the URL",
                in_doubt=False,
            ) from error
