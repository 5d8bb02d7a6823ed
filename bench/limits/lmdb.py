"""LMDB by itself: records of the size that the embedded store's have, put and got in transactions of 100, and one in a
transaction that is synced to disk."""

import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import lmdb

from ..load import MANY, batched

# About what the record of a transaction with one output takes.
RECORD_BYTES: Final = 400
_KEY_BYTES: Final = 32
_MAP_BYTES: Final = 1 << 38  # address space, not memory


class Lmdb:
    """One environment that is not synced to disk, and one that is."""

    def __init__(self, directory: Path) -> None:
        self._value = os.urandom(RECORD_BYTES)
        self._unsynced = lmdb.open(str(directory / "unsynced"), map_size=_MAP_BYTES, sync=False, metasync=False)
        self._synced = lmdb.open(str(directory / "synced"), map_size=_MAP_BYTES)
        self._keys: Sequence[bytes] = ()

    def close(self) -> None:
        self._unsynced.close()
        self._synced.close()

    def puts_per_second(self, count: int) -> float:
        """Of new records, which the two below then are about."""
        self._keys = [os.urandom(_KEY_BYTES) for _ in range(count)]

        def put(keys: Sequence[bytes]) -> None:
            with self._unsynced.begin(write=True) as transaction:
                for key in keys:
                    transaction.put(key, self._value)

        return _rate(put, batched(self._keys, MANY))

    def gets_per_second(self, seconds: float) -> float:
        def get(keys: Sequence[bytes]) -> None:
            with self._unsynced.begin() as transaction:
                for key in keys:
                    transaction.get(key)

        return _rate(get, itertools.cycle(batched(self._keys, MANY)), seconds)

    def get_and_puts_per_second(self, seconds: float) -> float:
        def get_and_put(keys: Sequence[bytes]) -> None:
            with self._unsynced.begin(write=True) as transaction:
                for key in keys:
                    transaction.put(key, transaction.get(key) or b"")

        return _rate(get_and_put, itertools.cycle(batched(self._keys, MANY)), seconds)

    def commits(self, seconds: float) -> list[float]:
        """Milliseconds of each synced transaction of one put, one after the other; of one at least."""
        taken: list[float] = []
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until or not taken:
            with self._synced.begin(write=True) as transaction:
                transaction.put(os.urandom(_KEY_BYTES), self._value)
            taken.append((time.perf_counter() - started) * 1000)
        return taken


@contextlib.contextmanager
def opened() -> Iterator[Lmdb]:
    """In a temporary directory, beside those of the daemons that are measured."""
    with tempfile.TemporaryDirectory(prefix="utxod-lmdb-") as directory:
        limit = Lmdb(Path(directory))
        try:
            yield limit
        finally:
            limit.close()


def _rate(work: Callable[[Any], None], batches: Iterator[Sequence[bytes]], seconds: float = float("inf")) -> float:
    """Keys per second, until then or until the batches are at their end."""
    done = 0
    started = time.perf_counter()
    for keys in batches:
        work(keys)
        done += len(keys)
        if time.perf_counter() - started >= seconds:
            break
    return done / (time.perf_counter() - started)
