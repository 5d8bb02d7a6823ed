"""The ring: a file of bounded size that receipts go round in, block by block, the oldest overwritten first.

A block is of fixed size, and sound or not for itself: what is torn, by a crash of the machine or by a disk, costs no
other block. Its head tells which messages of which start of the daemon it holds, without a gap between them, so that a
reader learns what is missing; and how the daemon's clock stood to the time of day. What is appended to a block is
written before the head that counts it: who reads at the same time finds the block as it was, or as it is.

One process writes to a file, which a lock says. Where several daemons share a directory each has a file of its own.
"""

import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 1 << 17
FEWEST_BLOCKS: Final = 4
# So many daemons may share a directory.
MOST_FILES: Final = 64
# Where the time of day has been set by more than this since a block was begun, another one is begun.
_CLOCK_SET_US: Final = 50_000

_MAGIC: Final = b"utxodR01"
_HEAD: Final = Struct("=8sQQQQQQqIII")
HEAD_BYTES: Final = _HEAD.size
_UNCHECKED: Final = HEAD_BYTES - 4  # the head's own checksum stands last


class Head(NamedTuple):
    """sequence: of the block in the file, from 1. epoch: of the daemon's start. first, last: numbers of its messages.
    since, until: when those were made, microseconds on the daemon's clock. offset: to be added for the time of day,
    microseconds. used: bytes behind the head. checksum: of these."""

    sequence: int
    epoch: int
    first: int
    last: int
    since: int
    until: int
    offset: int
    used: int = 0
    checksum: int = 0

    def packed(self) -> bytes:
        head = _HEAD.pack(_MAGIC, *self, 0)[:_UNCHECKED]
        return head + zlib.crc32(head).to_bytes(4, "little")


def unpack_head(data: bytes) -> Head | None:
    """None where it is none: nothing was written there, or it is torn."""
    if len(data) < HEAD_BYTES or data[:8] != _MAGIC:
        return None
    if zlib.crc32(data[:_UNCHECKED]) != int.from_bytes(data[_UNCHECKED:HEAD_BYTES], "little"):
        return None
    head = Head(*_HEAD.unpack_from(data)[1:-1])
    return head if head.used <= BLOCK_BYTES - HEAD_BYTES else None


class Message(NamedTuple):
    """As one turn of the daemon sends it. number: from 1, without a gap. made: microseconds on the daemon's clock."""

    epoch: int
    number: int
    made: int
    records: bytes


class Ring:
    """directory: of the file, which is made where it is missing. size: of the file at most, in bytes; of one that is
    larger the newest are kept. Raises OSError."""

    def __init__(self, directory: Path, size: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._file = _open_free(directory)
        try:
            heads = {place: head for place, head in heads_of(self._file) if head is not None}
            blocks = max(FEWEST_BLOCKS, size // BLOCK_BYTES)
            if max(heads, default=0) >= blocks:
                heads = self._shrink(heads, blocks)
            os.truncate(self._file, min(os.fstat(self._file).st_size, blocks * BLOCK_BYTES))
        except BaseException:
            os.close(self._file)
            raise
        ages = {place: heads[place].sequence if place in heads else 0 for place in range(blocks)}
        self._places = sorted(ages, key=lambda place: ages[place])  # oldest first
        self._turn = 0  # index in it, of the block that is begun next
        self._sequence = max(ages.values())
        self._place = 0  # of the block that is written to
        self._head: Head | None = None  # its head, on the disk; None: another one is to be begun

    def write(self, messages: Sequence[Message], offset: int) -> None:
        """Behind all others. offset: as in a head. Raises OSError where that fails: what is not written by then is
        lost, and a block is begun anew."""
        first = 0
        while first < len(messages):
            if not self._continues(messages[first], offset):
                self._head = None
            end = self._end_of_block(messages, first)
            self._append(messages[first:end], offset)
            first = end

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed the file."""
        return os.fstat(self._file).st_nlink == 0

    def close(self) -> None:
        os.close(self._file)

    def _continues(self, message: Message, offset: int) -> bool:
        """Whether it belongs into the present block."""
        block = self._head
        return (
            block is not None
            and (block.epoch, block.last + 1) == (message.epoch, message.number)
            and HEAD_BYTES + block.used + len(message.records) <= BLOCK_BYTES
            and abs(block.offset - offset) <= _CLOCK_SET_US
        )

    def _end_of_block(self, messages: Sequence[Message], first: int) -> int:
        """The first message from there on that does not fit into the block of the first."""
        size = HEAD_BYTES + (self._head.used if self._head else 0)
        for place in range(first, len(messages)):
            epoch, number, _, records = messages[place]
            size += len(records)
            follows = (epoch, number - place) == (messages[first].epoch, messages[first].number - first)
            if place > first and (size > BLOCK_BYTES or not follows):
                return place
        return len(messages)

    def _append(self, messages: Sequence[Message], offset: int) -> None:
        """Into one block: the present one, or one that is begun."""
        head, self._head = self._head, None
        first, last = messages[0], messages[-1]
        if head is None:
            self._place = self._places[self._turn]
            head = Head(self._sequence + 1, first.epoch, first.number, 0, first.made, 0, offset)
        data, begin = b"".join([message.records for message in messages]), self._place * BLOCK_BYTES
        _write(self._file, memoryview(data), begin + HEAD_BYTES + head.used)
        used, checksum = head.used + len(data), zlib.crc32(data, head.checksum)
        head = head._replace(last=last.number, until=last.made, used=used, checksum=checksum)
        _write(self._file, memoryview(head.packed()), begin)
        if head.sequence > self._sequence:  # begun, and whole: the next one has its turn
            self._turn = (self._turn + 1) % len(self._places)
            self._sequence = head.sequence
        self._head = head

    def _shrink(self, heads: dict[int, Head], blocks: int) -> dict[int, Head]:
        """Moves the newest to the beginning, over older ones. Cut off amid this, it leaves blocks that are there
        twice."""
        newest = sorted(heads, key=lambda place: heads[place].sequence)[-blocks:]
        kept = {place: heads[place] for place in newest if place < blocks}
        free = (place for place in range(blocks) if place not in kept)
        for source in (place for place in newest if place >= blocks):
            place = next(free)
            block = os.pread(self._file, HEAD_BYTES + heads[source].used, source * BLOCK_BYTES)
            _write(self._file, memoryview(block), place * BLOCK_BYTES)
            kept[place] = heads[source]
        return kept


def files_in(directory: Path) -> Iterator[Path]:
    """The files of rings, those that are there."""
    return (path for path in map(directory.joinpath, _names()) if path.exists())


def places_in(file: int) -> range:
    """Of blocks; the last one may be cut off."""
    return range(-(-os.fstat(file).st_size // BLOCK_BYTES))


def heads_of(file: int) -> Iterator[tuple[int, Head | None]]:
    """Every block's place in the file, and its head; None where it is none."""
    for place in places_in(file):
        yield place, unpack_head(os.pread(file, HEAD_BYTES, place * BLOCK_BYTES))


def read_block(file: int, place: int) -> tuple[Head, bytes] | None:
    """A block's head and its records; None where it is torn, or none."""
    block = os.pread(file, BLOCK_BYTES, place * BLOCK_BYTES)
    head = unpack_head(block)
    if head is None:
        return None
    records = block[HEAD_BYTES : HEAD_BYTES + head.used]
    return (head, records) if zlib.crc32(records) == head.checksum else None


def _names() -> Iterator[str]:
    yield "receipts.ring"
    for number in range(2, MOST_FILES + 1):
        yield f"receipts-{number}.ring"


def _open_free(directory: Path) -> tuple[Path, int]:
    """The first file that nobody else writes to. Raises OSError."""
    for name in _names():
        path = directory / name
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return path, file
        except BlockingIOError:
            os.close(file)
        except BaseException:
            os.close(file)
            raise
    raise OSError(f"{directory}: {MOST_FILES} daemons keep their receipts there already")


def _write(file: int, data: memoryview, place: int) -> None:
    while data:
        written = os.pwrite(file, data, place)
        data, place = data[written:], place + written
