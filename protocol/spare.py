"""What must be left before a client starts: ZeroMQ aborts the process where it finds too few descriptors or threads."""

import errno
import os
import threading
from typing import Final

# Of a context 4, of a link 3, of its connection 1, of a thread's waking 2; of looking a name up 2.
DESCRIPTORS: Final = 12
THREADS: Final = 3  # ZeroMQ's two, and a blocking client's own
_THREADS_TRIED: Final = 6  # more, as those that were tried may not be quite gone when ZeroMQ starts its own


def check_spare() -> None:
    """Raises OSError: EMFILE or ENFILE for want of descriptors, EAGAIN for want of threads. Leaves nothing open."""
    _check_descriptors()
    _check_threads()


def _check_descriptors() -> None:
    found: list[int] = []
    try:
        while len(found) < DESCRIPTORS:
            found += os.pipe()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        needed = f"a client needs {DESCRIPTORS} file descriptors, and fewer are left"
        raise OSError(error.errno, f"{needed}: raise the limit (ulimit -n), or close some") from None
    finally:
        for descriptor in found:
            os.close(descriptor)


def _check_threads() -> None:
    enough = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(_THREADS_TRIED):
            thread = threading.Thread(target=enough.wait, name="utxod-client-spare", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        needed = f"a client needs {THREADS} threads, and hardly any can be started"
        raise OSError(errno.EAGAIN, f"{needed}: raise the limit (ulimit -u), or end some") from None
    finally:
        enough.set()
        for thread in started:
            thread.join()
