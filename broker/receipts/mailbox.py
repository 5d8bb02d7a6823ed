"""Memory that the daemon and the recorder share: messages go through it without a system call, and outlive the daemon.

One process puts, and one takes. A message counts once it is there as a whole; each has a checksum, so that one of which
not all is seen yet, on a processor that shows stores in another order, waits for the next look.
"""

import mmap
import os
import zlib
from struct import Struct
from typing import Final

_PUT, _TAKEN, _NUMBER = range(3)  # places of the counts of bytes that were put, and taken, so far; of the last number
_BEGIN: Final = 3 * 8
_HEAD: Final = Struct("=II")  # length, checksum


class Mailbox:
    """descriptor: of a file in memory, which `make` makes."""

    def __init__(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        self._map = mmap.mmap(descriptor, size)
        # Each is set by one store: `struct` would write zeros first, which the other process might see.
        self._counts = memoryview(self._map)[:_BEGIN].cast("Q")
        self._room = size - _BEGIN

    @staticmethod
    def make(room: int) -> int:
        """A descriptor. room: bytes. Raises OSError."""
        descriptor = os.memfd_create("receipts")
        os.ftruncate(descriptor, _BEGIN + room)
        return descriptor

    @property
    def number(self) -> int:
        """That of the last message, put or not."""
        return self._counts[_NUMBER]

    def put(self, message: bytes, number: int) -> bool:
        """Whether there was room."""
        self._counts[_NUMBER] = number
        put = self._counts[_PUT]
        packed = _HEAD.pack(len(message), zlib.crc32(message)) + message
        if put + len(packed) - self._counts[_TAKEN] > self._room:
            return False
        at = put % self._room
        first = min(len(packed), self._room - at)
        self._map[_BEGIN + at : _BEGIN + at + first] = packed[:first]
        if first < len(packed):
            self._map[_BEGIN : _BEGIN + len(packed) - first] = packed[first:]
        self._counts[_PUT] = put + len(packed)
        return True

    def take(self) -> list[bytes]:
        """The messages that are there."""
        messages: list[bytes] = []
        put, taken = self._counts[_PUT], self._counts[_TAKEN]
        while taken < put:
            length, checksum = _HEAD.unpack(self._read(taken, _HEAD.size))
            message = self._read(taken + _HEAD.size, length)
            if zlib.crc32(message) != checksum:
                break
            messages.append(message)
            taken += _HEAD.size + length
        self._counts[_TAKEN] = taken
        return messages

    def close(self) -> None:
        self._counts.release()
        self._map.close()

    def _read(self, where: int, size: int) -> bytes:
        at = where % self._room
        first = min(size, self._room - at)
        return self._map[_BEGIN + at : _BEGIN + at + first] + self._map[_BEGIN : _BEGIN + size - first]
