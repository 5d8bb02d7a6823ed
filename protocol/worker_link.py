"""The stream between the daemon and one worker: messages of frames, over a connected pair of sockets.

A message is the number of its frames, the length of each, both in 4 bytes, and the frames. There is nothing between the
two sides, neither a thread nor a queue but the kernel's: what was sent is there to be read, after its sender's end too,
and the end of the stream says that nothing more will come.
"""

import mmap
import os
import socket
import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from .worker_wire import WorkerWireError

# More than the kernel holds of a stream by default: nearly every message comes in one read. And no read takes more:
# otherwise it would last for as long as the other side keeps writing.
_READ_BYTES: Final = 1 << 18
# Buffers that sendmsg(2) takes at once.
_MOST_BUFFERS: Final = 1024
# An answer to the largest batch that can be set has fewer.
_MOST_FRAMES: Final = 1 << 18
# Neither side sends the other more than two before it has an answer; but a read of zeros would be thousands.
_MOST_MESSAGES: Final = 64
# Who sends a message has it in memory, whole: it is no larger than that of the host. Nothing less is sure, for what a
# store gives for a key is not bounded.
_MOST_BYTES: Final = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
_NUMBER: Final = struct.Struct("=I")


class WorkerLink:
    """One side. stream: a connected stream socket, which may be non-blocking; it is closed with the link."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._unsent: list[Any] = []
        self._unsent_bytes = 0
        self._read: bytearray | mmap.mmap = bytearray(_READ_BYTES)
        self._filled = 0
        self._awaited = 0  # until so much is there, no message is whole

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()

    def refuse_more(self) -> None:
        """What has been sent by now can still be received, and is followed by the end, whoever still has the other
        side open: it can't send any more."""
        self._stream.shutdown(socket.SHUT_RD)

    @property
    def is_sending(self) -> bool:
        """Whether the kernel has not taken all that was to be sent."""
        return bool(self._unsent)

    def send(self, frames: Sequence[Any]) -> None:
        """Sends a message of frames, bytes or ZeroMQ's, uncopied. On a non-blocking stream the rest may be left to
        `flush`. Raises OSError where the other side is gone."""
        head = struct.pack(f"={len(frames) + 1}I", len(frames), *map(len, frames))
        self._unsent += (head, *frames)
        self._unsent_bytes += len(head) + sum(map(len, frames))
        self.flush()

    def flush(self) -> None:
        """Sends what is left, as far as the stream takes it. Raises OSError where the other side is gone."""
        while self._unsent:
            try:
                sent = self._stream.sendmsg(self._unsent[:_MOST_BUFFERS])
            except BlockingIOError:
                return
            self._unsent_bytes -= sent
            self._forget(sent)

    def _forget(self, sent: int) -> None:
        if not self._unsent_bytes:
            self._unsent.clear()
            return
        for index, buffer in enumerate(self._unsent):
            if sent < len(buffer):
                self._unsent[: index + 1] = [memoryview(buffer)[sent:]]
                return
            sent -= len(buffer)

    def receive(self) -> list[list[Any]]:
        """Reads once, and gives the messages that are whole by then: frames are bytes, those of a large message views
        of what was read.

        Raises EOFError where the other side is gone, and all that it had sent is read; BlockingIOError where a
        non-blocking stream has nothing; WorkerWireError where what has come can't be a message.
        """
        try:
            count = self._stream.recv_into(memoryview(self._read)[self._filled : self._filled + _READ_BYTES])
        except ConnectionResetError:  # it is gone, and has not read all that it was sent
            count = 0
        if not count:
            raise EOFError
        self._filled += count
        if self._filled < self._awaited:
            return []
        messages: list[list[Any]] = []
        start = 0
        while True:
            frames, lengths = self._outline(start)
            end = frames + sum(lengths)
            if end > self._filled:
                break
            if len(messages) == _MOST_MESSAGES:
                raise WorkerWireError(f"more than {_MOST_MESSAGES} messages at once")
            messages.append(self._cut(frames, lengths))
            start = end
        self._keep(start, end - start)
        return messages

    def _outline(self, start: int) -> tuple[int, Sequence[int]]:
        """Where the frames of the message begin that begins there, and their lengths: none where its head is not all
        there yet."""
        head = start + _NUMBER.size
        if head > self._filled:
            return head, ()
        (count,) = _NUMBER.unpack_from(self._read, start)
        if count > _MOST_FRAMES:
            raise WorkerWireError(f"a message of {count} frames")
        frames = head + count * _NUMBER.size
        if frames > self._filled:
            return frames, ()
        return frames, struct.unpack_from(f"={count}I", self._read, head)

    def _cut(self, at: int, lengths: Sequence[int]) -> list[Any]:
        read = memoryview(self._read)[at : at + sum(lengths)]
        source = read if len(self._read) > _READ_BYTES else bytes(read)
        ends = list(accumulate(lengths, initial=0))
        return [source[start:end] for start, end in pairwise(ends)]

    def _keep(self, start: int, size: int) -> None:
        """Makes room for the rest of a message of at least that size. A large one has a buffer of its own, which it
        fills: views of it may be given away."""
        self._awaited = size
        if start == 0 and size <= len(self._read):
            return  # it is in its place already
        rest = self._read[start : self._filled]
        if len(self._read) > _READ_BYTES or size > _READ_BYTES:
            self._read = bytearray(_READ_BYTES) if size <= _READ_BYTES else _large_buffer(size)
        self._read[: len(rest)] = rest  # which is mostly nothing
        self._filled = len(rest)


def _large_buffer(size: int) -> mmap.mmap:
    """It costs nothing before it is filled, for until then it is a mere claim. It is not to be closed: it goes with the
    last view of it. Raises WorkerWireError."""
    try:
        if size <= _MOST_BYTES:
            return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        pass
    raise WorkerWireError(f"a message of {size} bytes, for which there is no memory")
