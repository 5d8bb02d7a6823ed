"""Blocks out of files: one raw block a file, or a node's own blk*.dat (magic, length, block; zeros between).

`scan` reads headers only, so that blocks that lie in any order, in many large files, can be put into the order of
their chain before one of them is read whole. What is no block (no proof of work, cut short, obfuscated) is an error
that names the file and the place.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

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
# What regtest asks for: about every second hash will do.
_EASIEST_TARGET: Final = 0x7FFFFF << 8 * (0x20 - 3)
# Header, counts and the beginning of the coinbase's script: enough to find the height in.
_HEAD_BYTES: Final = 192


class BlockFileError(ValueError):
    """A file that holds something else than blocks. The message names the file, and the place where it matters."""


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """A block and where it lies. hash, previous: 32 bytes, wire order. size: bytes. stated_height: what the coinbase
    says (BIP 34), None where it says nothing."""

    file: Path
    offset: int
    size: int
    hash: bytes
    previous: bytes
    stated_height: int | None

    def read(self) -> bytes:
        with self.file.open("rb") as source:
            source.seek(self.offset)
            return source.read(self.size)


def scan(files: Iterable[Path]) -> list[BlockPlace]:
    """Every block of the files, in the order of the files. Raises BlockFileError, and OSError from reading."""
    return [place for file in files for place in _scan_file(file)]


def in_chain_order(places: Iterable[BlockPlace], default_height: int) -> list[tuple[BlockPlace, int]]:
    """Each block with its height, parents before children, and otherwise the lower before the higher.

    A height is what the coinbase states; else one more than the parent's; else `default_height`. A block that is there
    twice is given once.
    """
    distinct = {place.hash: place for place in places}
    children: dict[bytes, list[BlockPlace]] = {}
    ready: list[tuple[int, int, BlockPlace]] = []
    position = {hash_: index for index, hash_ in enumerate(distinct)}

    def add(place: BlockPlace, otherwise: int) -> None:
        height = otherwise if place.stated_height is None else place.stated_height
        heapq.heappush(ready, (height, position[place.hash], place))

    for place in distinct.values():
        if place.previous in distinct:
            children.setdefault(place.previous, []).append(place)
        else:
            add(place, default_height)
    ordered = []
    while ready:
        height, _, place = heapq.heappop(ready)
        ordered.append((place, height))
        for child in children.get(place.hash, ()):
            add(child, height + 1)
    return ordered


def _scan_file(file: Path) -> Iterator[BlockPlace]:
    size = file.stat().st_size
    with file.open("rb") as source:
        magic = source.read(4)
        if magic in MAGICS:
            yield from _scan_framed(file, source, magic, size)
        elif _skip_zeros(source, 0) is None:
            return  # empty, or space that a node has set aside
        elif (obfuscated := _obfuscation(file)) is not None:
            raise BlockFileError(f"{file}: {obfuscated}")
        else:
            yield _place(file, source, 0, size)


def _scan_framed(file: Path, source: BinaryIO, magic: bytes, size: int) -> Iterator[BlockPlace]:
    offset = 0
    while (start := _skip_zeros(source, offset)) is not None:
        source.seek(start)
        frame = source.read(8)
        length = int.from_bytes(frame[4:], "little")
        if frame[:4] != magic:
            raise BlockFileError(f"{file}: no block begins at byte {start}")
        if start + 8 + length > size or len(frame) < 8:
            raise BlockFileError(f"{file}: the block at byte {start} is cut short")
        yield _place(file, source, start + 8, length)
        offset = start + 8 + length


def _skip_zeros(source: BinaryIO, offset: int) -> int | None:
    """The first byte from `offset` on that is not zero; None at the end."""
    source.seek(offset)
    while chunk := source.read(1 << 16):
        rest = chunk.lstrip(b"\0")
        if rest:
            return offset + len(chunk) - len(rest)
        offset += len(chunk)
    return None


def _place(file: Path, source: BinaryIO, offset: int, size: int) -> BlockPlace:
    source.seek(offset)
    head = source.read(min(size, _HEAD_BYTES))
    header = head[:HEADER_BYTES]
    hash_ = hashlib.sha256(hashlib.sha256(header).digest()).digest()
    if len(head) <= HEADER_BYTES or int.from_bytes(hash_, "little") > _target(header[72:76]):
        raise BlockFileError(f"{file}: what begins at byte {offset} is no block (its header shows no proof of work)")
    return BlockPlace(file, offset, size, hash_, header[4:36], _stated_height(head))


def _target(bits: bytes) -> int:
    """The number that the hash must not exceed; 0 where the bits are beyond what the easiest network allows."""
    mantissa, exponent = int.from_bytes(bits[:3], "little"), bits[3]
    target = mantissa << 8 * (exponent - 3) if exponent >= 3 else mantissa >> 8 * (3 - exponent)
    return target if target <= _EASIEST_TARGET else 0


def _stated_height(head: bytes) -> int | None:
    """BIP 34: from block version 2 on, the coinbase's script begins with a push of the height."""
    if int.from_bytes(head[:4], "little", signed=True) < 2:
        return None
    count_bytes = {0xFD: 3, 0xFE: 5, 0xFF: 9}.get(head[HEADER_BYTES], 1)
    script = head[HEADER_BYTES + count_bytes + 4 + 1 + 36 + 1 :]  # version, number of inputs, outpoint, script's length
    if not script:
        return None
    push = script[0]
    if 0x51 <= push <= 0x60:  # OP_1 to OP_16, as test networks have them
        return push - 0x50
    return int.from_bytes(script[1 : 1 + push], "little") if 1 <= push <= 4 else None


def _obfuscation(file: Path) -> str | None:
    """Nodes of a newer make write block files XORed with the key in xor.dat beside them."""
    key = file.parent / "xor.dat"
    if file.suffix == ".dat" and key.exists() and key.read_bytes().strip(b"\0"):
        return f"is obfuscated with the key in {key}; have the node write plain files (-blocksxor=0, and index anew)"
    if file.suffix == ".dat" and file.name.startswith("blk"):
        return "does not begin with the magic of a known network; it may be obfuscated (-blocksxor), or damaged"
    return None
