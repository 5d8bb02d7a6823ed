"""Standard error that nobody ever waits for, in the daemon and in its workers: neither a pipe that is not read, nor a
terminal that is held, nor a full disk stops who writes a line.

A thread passes the lines on, in their order; it alone waits. What does not fit while it does, or can't be written at
all, is dropped and counted, and the log says how many lines that were once it is read again.
"""

import atexit
import io
import logging
import os
import select
import sys
import threading
from queue import SimpleQueue
from typing import Any, Final

log = logging.getLogger("utxod.log")

_STDERR: Final = 2
_CAPACITY: Final = 4096  # writes, each a line or a few
_LONGEST: Final = 1 << 15  # of one, in bytes
# How long the end of the process waits for a reader.
_END_SECONDS: Final = 1.0


class NonBlockingWriter(io.RawIOBase):
    """A stream whose `write` returns at once. descriptor: where it goes. capacity: writes that may wait. dropped: lines
    that were."""

    def __init__(self, descriptor: int, capacity: int = _CAPACITY) -> None:
        self._descriptor = descriptor
        self._capacity = capacity
        # Its `put` is reentrant: a finalizer may write at any moment.
        self._queue: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self.dropped = 0
        self._reported = 0  # of those
        threading.Thread(target=self._run, name="stderr", daemon=True).start()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        """Takes all of it, or drops it; returns at once."""
        chunk = bytes(data)
        if self._queue.qsize() >= self._capacity:
            self.dropped += chunk.count(b"\n")
        else:
            self._queue.put(_bounded(chunk))
        return len(chunk)

    def finish(self, within: float = _END_SECONDS) -> None:
        """Waits until what was written is passed on, so many seconds at most."""
        done = threading.Event()
        self._queue.put(done)
        done.wait(within)

    def _run(self) -> None:
        while True:
            taken = self._queue.get()
            if isinstance(taken, threading.Event):
                taken.set()
            elif not self._pass_on(taken):
                self.dropped += taken.count(b"\n")
            elif self.dropped > self._reported and self._queue.empty():
                missing, self._reported = self.dropped - self._reported, self.dropped
                log.warning("%d lines are missing here: nobody took them", missing)

    def _pass_on(self, chunk: bytes) -> bool:
        try:
            while chunk:
                try:
                    chunk = chunk[os.write(self._descriptor, chunk) :]
                except BlockingIOError:  # its other users share the mode of the descriptor
                    poll = select.poll()
                    poll.register(self._descriptor, select.POLLOUT)
                    poll.poll()
        except OSError:
            return False
        return True


def _bounded(chunk: bytes) -> bytes:
    """Cut between two characters where it is too long."""
    if len(chunk) <= _LONGEST:
        return chunk
    end = _LONGEST
    while end and chunk[end] & 0xC0 == 0x80:  # it goes on with a character of UTF-8
        end -= 1
    return chunk[:end] + b"...\n"


_of_this_process: NonBlockingWriter | None = None


def replace_stderr() -> None:
    """What Python writes to standard error, logging, warnings and tracebacks, waits for nobody from now on; it stays as
    it was where no thread can be had for that."""
    global _of_this_process
    try:
        writer = _of_this_process = NonBlockingWriter(_STDERR)
    except RuntimeError:
        return
    sys.stderr = io.TextIOWrapper(writer, encoding="utf-8", errors="backslashreplace", write_through=True)
    atexit.register(writer.finish)


def lines_dropped() -> int:
    """Of what this process wrote to standard error since it was replaced."""
    return 0 if _of_this_process is None else _of_this_process.dropped


def open_nonblocking_stderr() -> int:
    """A descriptor of standard error's file for who writes to it directly: what does not fit is lost, and nobody waits.
    It is standard error itself where there is no way to open that again (a socket)."""
    try:
        return os.open(f"/proc/self/fd/{_STDERR}", os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_NOCTTY)
    except OSError:
        return _STDERR
