"""Checks before a client starts that enough descriptors and threads are left: with too few, ZeroMQ ends the process."""

import _thread
import errno
import os
import queue
from typing import Final

# Of a context 4, of a DEALER and its monitor 3, of its connection 1, of waking its threads 3; of looking a name up 2.
DESCRIPTORS: Final = 13
THREADS: Final = 3  # ZeroMQ's two, and a blocking client's own
_THREADS_TRIED: Final = 6  # more, as those that were tried may not be quite gone when ZeroMQ starts its own


def check_headroom() -> None:
    """Raises OSError: EMFILE or ENFILE if too few descriptors are left, EAGAIN if too few threads. Leaves
    nothing open."""
    _check_descriptors()
    _check_threads()


def _check_descriptors() -> None:
    found: list[int] = []
    try:
        while len(found) < DESCRIPTORS:
            found.append(os.eventfd(0))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        needed = f"a client needs {DESCRIPTORS} file descriptors, and the limit leaves fewer"
        raise OSError(error.errno, needed) from None  # how to raise it is added by whoever knows the program
    finally:
        for descriptor in found:
            os.close(descriptor)


def _check_threads() -> None:
    enough = _thread.allocate_lock()
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def tried() -> None:
        with enough:
            ended.put(None)

    started = 0
    with enough:
        try:
            while started < _THREADS_TRIED:
                _thread.start_new_thread(tried, ())
                started += 1
        except RuntimeError:
            raise OSError(errno.EAGAIN, f"a client needs {THREADS} threads, and hardly any can be started") from None
    for _ in range(started):
        ended.get()
