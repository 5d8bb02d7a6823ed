"""Blobs: raw transactions that are too large for a record. Each is a file in one directory, in a format of our own:

    bytes 0-3   b"UXB" and the version (1)
    byte  4     1: a whole transaction follows; 0: some of its outputs only
    bytes 5-8   number of outputs n (uint32 LE)
    n x 8       offset of each output in the payload (uint64 LE), all ones where it is not there
    payload     the raw transaction, or the serialised outputs

so that one output is read without the rest. A file appears under its name complete or not at all. One that is there is
replaced by `replace` alone, and a whole transaction never by a partial one. A blob that is missing or damaged is an
error.
"""

import fcntl
import os
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .layout import Partial
from .transaction import Output, Transaction, read_output, read_varint

_HEADER = struct.Struct("<4sBI")
_OFFSET = struct.Struct("<Q")
_MAGIC: Final = b"UXB\x01"
_ABSENT: Final = 0xFFFF_FFFF_FFFF_FFFF
_SCRIPT_LENGTH_END: Final = 17  # satoshis 8, varint of at most 9
_LOCKTIME_BYTES: Final = 4
_REPLACE_BUDGET: Final = 0.2  # seconds to wait for another process that replaces a blob
_REPLACE_PAUSE: Final = 0.005


class FileBlobStore:
    """Blobs as files below `directory`, on a file system with hard links; it is made where it is missing. sync: what is
    put is on the disk when the call returns. Methods: as BlobStore says (interface.py). Raises OSError."""

    def __init__(self, directory: Path, *, sync: bool = True) -> None:
        self._directory = directory
        self._sync = sync
        directory.mkdir(parents=True, exist_ok=True)

    def put_new(self, source: Transaction | Partial) -> bool:
        path = self._path(source.txid)
        self._make_folder(path.parent)
        is_new = not path.exists() and self._link(path, _pack(source))
        self._sync_directory(path.parent)  # what stands there may have been put by a process that died before its sync
        return is_new

    def replace(self, source: Transaction | Partial) -> None:
        path = self._path(source.txid)
        with self._replacing():
            if self.put_new(source) or not self._gives_way(path, source):
                return
            with self._temporary(path, _pack(source)) as temporary:
                temporary.replace(path)
            self._sync_directory(path.parent)

    def has_whole(self, txid: bytes) -> bool:
        try:
            with self._path(txid).open("rb", buffering=0) as file:
                return _unpack_header(file.read(_HEADER.size))[0]
        except (OSError, ValueError):
            return False

    def get(self, txid: bytes) -> bytes | None:
        with _naming(txid):
            return _raw_of(self._path(txid).read_bytes())

    def output(self, txid: bytes, vout: int) -> Output | None:
        with _naming(txid), self._path(txid).open("rb", buffering=0) as file:
            return _read_output(file.fileno(), vout)

    def delete(self, txid: bytes) -> bool:
        try:
            self._path(txid).unlink()
        except FileNotFoundError:
            if not self._directory.is_dir():
                raise
            return False
        return True

    def _path(self, txid: bytes) -> Path:
        name = txid[::-1].hex()
        # The last two digits: the first ones could be ground to fill one folder.
        return self._directory / name[-2:] / f"{name}.blob"

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            self._sync_directory(self._directory)

    def _link(self, path: Path, content: bytes) -> bool:
        """Whether there was no such file yet."""
        with self._temporary(path, content) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        return True

    @contextmanager
    def _temporary(self, path: Path, content: bytes) -> Iterator[Path]:
        """A file with this content beside `path`, gone afterwards unless it was renamed."""
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                if self._sync:
                    os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _replacing(self) -> Iterator[None]:
        """One process at a time: the blob that was judged is still the same when it is replaced."""
        path = self._directory / "replace.lock"
        until = time.monotonic() + _REPLACE_BUDGET
        with path.open("ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise TimeoutError(f"{path}: held by another process for {_REPLACE_BUDGET} s") from None
                    time.sleep(_REPLACE_PAUSE)
            yield

    def _gives_way(self, path: Path, source: Transaction | Partial) -> bool:
        """Whether the blob that is there may be replaced. Raises OSError where it cannot be told. A sound whole one may
        be of an attempt that was refused, and say something else in the extended format, which the txid does not hold
        it to."""
        with _naming(source.txid):
            blob = path.read_bytes()
            if isinstance(source, Partial):
                is_whole, _ = _unpack_header(blob)
                return not is_whole
        return blob != _pack(source)

    def _sync_directory(self, directory: Path) -> None:
        if not self._sync:
            return
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class NoBlobStore:
    """Stands for the blob store of a set that was given none: keeps nothing, and everything else that is asked of it
    raises OSError with what to do about it."""

    def put_new(self, source: Transaction | Partial) -> bool:
        raise _no_directory()

    def replace(self, source: Transaction | Partial) -> None:
        raise _no_directory()

    def has_whole(self, txid: bytes) -> bool:
        return False

    def get(self, txid: bytes) -> bytes | None:
        raise _no_directory()

    def output(self, txid: bytes, vout: int) -> Output | None:
        raise _no_directory()

    def delete(self, txid: bytes) -> bool:
        raise _no_directory()


def _no_directory() -> OSError:
    return OSError("the store has no directory for large transactions: give it blobs=DIRECTORY in its URL")


@contextmanager
def _naming(txid: bytes) -> Iterator[None]:
    """An OSError raised within, or a ValueError (damage), becomes an OSError that names the blob."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"blob of {txid[::-1].hex()}: missing") from None
    except (OSError, ValueError) as error:
        raise OSError(f"blob of {txid[::-1].hex()}: {error}") from error


def _pack(source: Transaction | Partial) -> bytes:
    if isinstance(source, Transaction):
        offsets, payload = _output_offsets(source), source.raw
    else:
        offsets, payload = _lay_out(source)
    table = struct.pack(f"<{len(offsets)}Q", *offsets)
    return b"".join((_HEADER.pack(_MAGIC, isinstance(source, Transaction), len(offsets)), table, payload))


def _output_offsets(transaction: Transaction) -> list[int]:
    """Where each output begins in the raw transaction: they are the last thing in it but the locktime."""
    position = len(transaction.raw) - _LOCKTIME_BYTES
    offsets = []
    for output in reversed(transaction.serialised_outputs):
        position -= len(output)
        offsets.append(position)
    offsets.reverse()
    return offsets


def _lay_out(partial: Partial) -> tuple[list[int], bytes]:
    """The outputs one after the other, and where each begins."""
    offsets = [_ABSENT] * (max(partial.outputs, default=-1) + 1)
    payload = bytearray()
    for vout, output in partial.outputs.items():
        offsets[vout] = len(payload)
        payload += output.serialise()
    return offsets, bytes(payload)


def _unpack_header(blob: bytes) -> tuple[bool, int]:
    """(whether it is whole, number of outputs). Raises ValueError."""
    if len(blob) < _HEADER.size:
        raise ValueError("truncated")
    magic, whole, count = _HEADER.unpack_from(blob)
    if magic != _MAGIC:
        raise ValueError(f"unknown format {magic!r}")
    return bool(whole), count


def _raw_of(blob: bytes) -> bytes | None:
    """Raises ValueError where the last output does not end where the locktime begins."""
    whole, count = _unpack_header(blob)
    if not whole:
        return None
    start = _HEADER.size + count * _OFFSET.size
    payload = blob[start:]
    if count == 0 or not payload:
        raise ValueError("truncated")
    (last,) = _OFFSET.unpack_from(blob, start - _OFFSET.size)
    _, end = read_output(payload, last)
    if end + _LOCKTIME_BYTES != len(payload):
        raise ValueError("truncated, or longer than it was")
    return payload


def _read_output(file: int, vout: int) -> Output | None:
    """Raises ValueError where the blob is damaged."""
    size = os.fstat(file).st_size
    whole, count = _unpack_header(os.pread(file, _HEADER.size, 0))
    payload = _HEADER.size + count * _OFFSET.size
    if payload > size:
        raise ValueError("truncated")
    if not 0 <= vout < count:
        return None
    (offset,) = _OFFSET.unpack(os.pread(file, _OFFSET.size, _HEADER.size + vout * _OFFSET.size))
    if offset == _ABSENT and not whole:
        return None
    start = payload + offset
    if start >= size:
        raise ValueError("truncated")
    length, begin = read_varint(os.pread(file, _SCRIPT_LENGTH_END, start), 8, "script length")
    if start + begin + length > size:
        raise ValueError("truncated")
    return read_output(os.pread(file, begin + length, start), 0)[0]
