"""Blobs: raw transactions that are too large for a record, a file each in a directory. The format is our own:

    bytes 0-3   b"UXB" and the version (1)
    byte  4     1: a whole transaction follows; 0: some of its outputs only
    bytes 5-8   number of outputs n (uint32 LE)
    n x 8       offset of each output in the payload (uint64 LE), all ones where it is not there
    payload     the raw transaction, or the serialised outputs

so that one output is read without the rest. A file appears under its name complete or not at all.
"""

import os
import secrets
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from .transaction import Output, Transaction, read_output, read_varint

_HEADER = struct.Struct("<4sBI")
_OFFSET = struct.Struct("<Q")
_MAGIC: Final = b"UXB\x01"
_ABSENT: Final = 0xFFFF_FFFF_FFFF_FFFF
_SCRIPT_LENGTH_END: Final = 17  # satoshis 8, varint of at most 9


class BlobStore:
    """Blobs in `directory`. sync: what is put is on the disk when `put` returns. Errors of the disk are OSError."""

    def __init__(self, directory: Path, *, sync: bool = True) -> None:
        self._directory = directory
        self._sync = sync
        directory.mkdir(parents=True, exist_ok=True)

    def put(self, transaction: Transaction) -> None:
        """Keep a whole transaction, in the format it came in. An older blob of the same txid is replaced."""
        offsets = _output_offsets(transaction)
        self._write(transaction.txid, _pack(1, offsets, transaction.raw))

    def put_outputs(self, txid: bytes, outputs: Mapping[int, Output]) -> None:
        """Keep some outputs (by vout) of a transaction that is not known as a whole."""
        offsets = [_ABSENT] * (max(outputs, default=-1) + 1)
        payload = bytearray()
        for vout, output in outputs.items():
            offsets[vout] = len(payload)
            payload += output.serialise()
        self._write(txid, _pack(0, offsets, bytes(payload)))

    def get(self, txid: bytes) -> bytes | None:
        """The raw transaction as it was put; None where there is none, or only some of its outputs."""
        try:
            blob = self._path(txid).read_bytes()
        except FileNotFoundError:
            return None
        whole, count = _unpack_header(blob)
        return blob[_HEADER.size + count * _OFFSET.size :] if whole else None

    def output(self, txid: bytes, vout: int) -> Output | None:
        """One output, without reading the others; None where there is no such blob or output."""
        try:
            with self._path(txid).open("rb", buffering=0) as file:
                return _read_output(file, vout)
        except FileNotFoundError:
            return None

    def delete(self, txid: bytes) -> bool:
        """Whether there was one."""
        self._mark_path(txid).unlink(missing_ok=True)
        try:
            self._path(txid).unlink()
        except FileNotFoundError:
            return False
        return True

    def set_delete_at_height(self, txid: bytes, height: int) -> bool:
        """Mark a blob for deletion at a block height; 0 removes the mark. False where there is no such blob."""
        if not self._path(txid).exists():
            return False
        if height:
            self._replace(self._mark_path(txid), str(height).encode())
        else:
            self._mark_path(txid).unlink(missing_ok=True)
        return True

    def delete_at_height(self, txid: bytes) -> int | None:
        try:
            return int(self._mark_path(txid).read_bytes())
        except FileNotFoundError:
            return None

    def __iter__(self) -> Iterator[bytes]:
        """The txids of all blobs."""
        for path in self._directory.glob("??/*.blob"):
            yield bytes.fromhex(path.stem)[::-1]

    def _path(self, txid: bytes) -> Path:
        name = txid[::-1].hex()
        # The last two digits: the first ones could be ground to fill one folder.
        return self._directory / name[-2:] / f"{name}.blob"

    def _mark_path(self, txid: bytes) -> Path:
        return self._path(txid).with_suffix(".dah")

    def _write(self, txid: bytes, blob: bytes) -> None:
        path = self._path(txid)
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            self._sync_directory(self._directory)
        self._replace(path, blob)

    def _replace(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                if self._sync:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._sync_directory(path.parent)

    def _sync_directory(self, directory: Path) -> None:
        if not self._sync:
            return
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class NoBlobs(BlobStore):
    """Of a store that was given no directory for them: finds nothing, and refuses to keep anything."""

    def __init__(self) -> None:
        self._directory = Path("/nonexistent")

    def _write(self, txid: bytes, blob: bytes) -> None:
        raise OSError("the store has no directory for large transactions: give it blobs=DIRECTORY in its URL")


def _output_offsets(transaction: Transaction) -> list[int]:
    """Where each output begins in the raw transaction: they are the last thing in it but the locktime."""
    position = len(transaction.raw) - 4
    offsets = []
    for output in reversed(transaction.outputs):
        position -= len(output.serialise())
        offsets.append(position)
    offsets.reverse()
    return offsets


def _pack(whole: int, offsets: list[int], payload: bytes) -> bytes:
    return b"".join((_HEADER.pack(_MAGIC, whole, len(offsets)), struct.pack(f"<{len(offsets)}Q", *offsets), payload))


def _unpack_header(blob: bytes) -> tuple[bool, int]:
    if len(blob) < _HEADER.size:
        raise OSError("blob: truncated")
    magic, whole, count = _HEADER.unpack_from(blob)
    if magic != _MAGIC:
        raise OSError(f"blob: unknown format {magic!r}")
    return bool(whole), count


def _read_output(file: BinaryIO, vout: int) -> Output | None:
    _, count = _unpack_header(file.read(_HEADER.size))
    if not 0 <= vout < count:
        return None
    file.seek(_HEADER.size + vout * _OFFSET.size)
    (offset,) = _OFFSET.unpack(file.read(_OFFSET.size))
    if offset == _ABSENT:
        return None
    start = _HEADER.size + count * _OFFSET.size + offset
    file.seek(start)
    head = file.read(_SCRIPT_LENGTH_END)
    try:
        length, begin = read_varint(head, 8, "script length")
        file.seek(start)
        return read_output(file.read(begin + length), 0)[0]
    except ValueError as error:
        raise OSError(f"blob: {error}") from None
