"""Finds and reads blocks in files: one raw block a file, or a node's blk*.dat (magic, size, block; zeros between).

`scan` reads headers only, so that blocks that lie in any order, in many large files, can be put into the order of
their chain before one of them is read whole. A node's file is read as it is found: obfuscated with the key of the
xor.dat beside it, with junk between its blocks, with a block that is cut short. What is skipped is named with its
place.

A block is known by its magic, and by a header whose hash meets the target that it states itself (of raw blocks by the
header alone). What follows the header is checked by who reads the block (blocks.py).
"""

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from .merkle import double_sha256

HEADER_BYTES: Final = 80
# A node's files begin every block with the magic of its network.
MAGICS: Final = {
    bytes.fromhex("f9beb4d9"): "main",
    bytes.fromhex("0b110907"): "test",
    bytes.fromhex("1c163f28"): "testnet4",
    bytes.fromhex("fbcec4f9"): "scaling test",
    bytes.fromhex("0a03cf40"): "signet",
    bytes.fromhex("fabfb5da"): "regtest",
}
_MAGIC_BYTES: Final = 4
# A size of so many bytes, and more, stands in the 8 bytes that follow this (as Bitcoin SV writes its large blocks).
_SIZE_FOLLOWS: Final = b"\xff\xff\xff\xff"
# What regtest asks for: about every second hash will do.
_EASIEST_TARGET: Final = 0x7FFFFF << 8 * (0x20 - 3)
# Header, counts and the beginning of the coinbase's script: enough to find the height in.
_HEAD_BYTES: Final = 192
# BIP 144: in place of the number of inputs, which is never 0.
_WITNESS_MARKER: Final = b"\x00\x01"
# Bitcoin Core XORs byte n of a file with byte n modulo 8 of the key.
_XOR_KEY_BYTES: Final = 8
_CHUNK_BYTES: Final = 1 << 20


class BlockFileError(ValueError):
    """A file that can't be read, or not as blocks. The message names the file, and the place where it matters."""


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """A block and where it lies. offset: of its header, in bytes; size: in bytes. hash, previous: 32 bytes, wire order.
    target: the number that its hash does not exceed. stated_height: what the coinbase says (BIP 34), None where it says
    nothing. key: what the file is XORed with, b"" where it is plain."""

    file: Path
    offset: int
    size: int
    hash: bytes
    previous: bytes
    target: int
    stated_height: int | None
    key: bytes

    def __str__(self) -> str:
        return f"{self.file}: the block at byte {self.offset}"

    @property
    def work(self) -> int:
        """How many hashes it takes to find such a block, on average."""
        return (1 << 256) // (self.target + 1)

    def read(self) -> bytes:
        with self.file.open("rb") as source:
            return _File(self.file, source, self.key).read(self.offset, self.size)


@dataclass(slots=True)
class Found:
    """The blocks of files, in the order of the files; and, in words, what was skipped in them, and where."""

    places: list[BlockPlace] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def scan(files: Iterable[Path]) -> Found:
    """Raises BlockFileError where a file can't be read."""
    found = Found()
    for path in files:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise BlockFileError(f"{path}: is no regular file")
            with path.open("rb") as source:
                _scan_file(_File(path, source, b""), found)
        except OSError as error:
            raise BlockFileError(f"{path}: can't be read: {error.strerror}") from None
    return found


class _File:
    """A file's bytes, as they were before they were XORed with the key."""

    def __init__(self, path: Path, source: BinaryIO, key: bytes) -> None:
        self.path = path
        self.key = key
        self.size = source.seek(0, 2)
        self._source = source

    def under(self, key: bytes) -> "_File":
        return _File(self.path, self._source, key)

    def read(self, offset: int, size: int) -> bytes:
        if not self.key:
            self._source.seek(offset)
            return self._source.read(size)
        return b"".join(_xored(chunk, self.key, place) for place, chunk in self._chunks(offset, offset + size))

    def first_byte_set(self, start: int, end: int) -> int | None:
        """The first byte that is not zero as it lies there (a node sets space aside, and obfuscates no zeros)."""
        for place, chunk in self._chunks(start, end):
            if rest := chunk.lstrip(b"\0"):
                return place + len(chunk) - len(rest)
        return None

    def search(self, pattern: re.Pattern[bytes], start: int) -> Iterator[int]:
        """Every place, from `start` on, where one of the magics may stand."""
        for place in range(start, self.size, _CHUNK_BYTES):
            chunk = self.read(place, _CHUNK_BYTES + _MAGIC_BYTES - 1)
            yield from (place + match.start() for match in pattern.finditer(chunk))

    def _chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        while start < end:
            self._source.seek(start)
            chunk = self._source.read(min(end - start, _CHUNK_BYTES))
            if not chunk:
                return
            yield start, chunk
            start += len(chunk)


def _scan_file(file: _File, found: Found) -> None:
    if file.first_byte_set(0, file.size) is None:
        return  # empty, or space that a node has set aside
    magic = file.read(0, _MAGIC_BYTES)
    if magic not in MAGICS and file.path.suffix == ".dat" and (key := _xor_key(file.path.with_name("xor.dat"))):
        file = file.under(key)
        magic = file.read(0, _MAGIC_BYTES)
    if magic not in MAGICS:
        if (raw := _place(file, 0, file.size)) is not None:
            found.places.append(raw)
            return
        magic = next((file.read(at, _MAGIC_BYTES) for at in _frames(file, b"|".join(map(re.escape, MAGICS)), 0)), b"")
    if magic:
        _scan_framed(file, magic, found)
    else:
        node = file.path.name.startswith("blk") and not file.key
        hint = "; where a node obfuscates its files, their xor.dat must lie beside them" if node else ""
        found.skipped.append(f"{file.path}: holds no block (no header shows its proof of work){hint}")


def _scan_framed(file: _File, magic: bytes, found: Found) -> None:
    pattern = re.escape(magic)
    offset = last = 0
    while offset < file.size:
        place = _framed(file, offset) if file.read(offset, _MAGIC_BYTES) == magic else None
        if place is not None and place.offset + place.size <= file.size:
            found.places.append(place)
            last, offset = offset, place.offset + place.size
            continue
        after = next(_frames(file, pattern, offset + 1), file.size)
        if place is not None:
            there = file.size - place.offset
            found.skipped.append(f"{place} is cut short: {there:,} of its {place.size:,} bytes are there")
        elif file.first_byte_set(offset, after) is not None and offset > last:
            # It may be the rest of one that begins within the block before, which was cut.
            after = next(_frames(file, pattern, last + 1), file.size)
        if place is None and (junk := file.first_byte_set(offset, after)) is not None:
            found.skipped.append(f"{file.path}: the {after - junk:,} bytes from byte {junk} on are no block")
        last = max(last, offset)
        offset = after


def _frames(file: _File, pattern: bytes, start: int) -> Iterator[int]:
    """Where, from `start` on, a magic stands before a block."""
    return (at for at in file.search(re.compile(pattern), start) if _framed(file, at) is not None)


def _framed(file: _File, offset: int) -> BlockPlace | None:
    """The block whose magic is at `offset`; it may be longer than the file."""
    frame = file.read(offset + _MAGIC_BYTES, 12)
    if frame[:4] == _SIZE_FOLLOWS:
        return _place(file, offset + _MAGIC_BYTES + 12, int.from_bytes(frame[4:], "little"))
    return _place(file, offset + _MAGIC_BYTES + 4, int.from_bytes(frame[:4], "little"))


def _place(file: _File, offset: int, size: int) -> BlockPlace | None:
    head = file.read(offset, min(size, _HEAD_BYTES))
    if len(head) <= HEADER_BYTES:
        return None
    header = head[:HEADER_BYTES]
    hash_, target = double_sha256(header), _target(header[72:76])
    if int.from_bytes(hash_, "little") > target:
        return None
    return BlockPlace(file.path, offset, size, hash_, header[4:36], target, _stated_height(head), file.key)


def _target(bits: bytes) -> int:
    """The number that the hash must not exceed; -1 where the bits are beyond what the easiest network allows."""
    mantissa, exponent = int.from_bytes(bits[:3], "little"), bits[3]
    target = mantissa << 8 * (exponent - 3) if exponent >= 3 else mantissa >> 8 * (3 - exponent)
    return target if target <= _EASIEST_TARGET and mantissa < 0x800000 else -1


def _stated_height(head: bytes) -> int | None:
    """BIP 34: from block version 2 on, the coinbase's script begins with a push of the height."""
    if int.from_bytes(head[:4], "little", signed=True) < 2 or has_witness(head):
        return None
    script = head[_coinbase(head) + 4 + 1 + 36 + 1 :]  # version, number of inputs, outpoint, script's length
    if not script:
        return None
    push = script[0]
    if 0x51 <= push <= 0x60:  # OP_1 to OP_16, as test networks have them
        return push - 0x50
    return int.from_bytes(script[1 : 1 + push], "little") if 1 <= push <= 4 else None


def has_witness(block: bytes) -> bool:
    """Whether the coinbase of a raw block, or of the beginning of one, carries witness data."""
    start = _coinbase(block) + 4
    return block[start : start + 2] == _WITNESS_MARKER


def _coinbase(block: bytes) -> int:
    """Where the first transaction begins: after the header and the number of transactions."""
    first = block[HEADER_BYTES : HEADER_BYTES + 1]
    return HEADER_BYTES + {b"\xfd": 3, b"\xfe": 5, b"\xff": 9}.get(first, 1)


def _xor_key(file: Path) -> bytes:
    """b"" where nothing is obfuscated. Raises BlockFileError where the file holds no key."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BlockFileError(f"{file}: is no regular file, and should hold the key of the files beside it")
        with file.open("rb") as source:
            key = source.read(_XOR_KEY_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise BlockFileError(f"{file}: can't be read: {error.strerror}") from None
    if found.st_size != _XOR_KEY_BYTES:
        raise BlockFileError(f"{file}: a key has {_XOR_KEY_BYTES} bytes, and this file {found.st_size:,}")
    return key if any(key) else b""


def _xored(data: bytes, key: bytes, offset: int) -> bytes:
    """data: what lies at byte `offset` of the file."""
    shift = offset % len(key)
    pattern = (key[shift:] + key[:shift]) * (len(data) // len(key) + 1)
    whole = int.from_bytes(data, "little") ^ int.from_bytes(pattern[: len(data)], "little")
    return whole.to_bytes(len(data), "little")
