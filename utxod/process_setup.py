"""First thing of all: what a process inherits is put in order, before it opens a file, starts a thread or can be ended.

A parent may have closed the standard descriptors (the next file opened, a set's lock say, would be written to as
standard output), ignored SIGCHLD (then the status of every child reads as 0), or blocked SIGTERM.
"""

import os
import signal
from collections.abc import Sequence


def is_daemon(arguments: Sequence[str]) -> bool:
    """Whether they ask for the daemon itself, not only for words about it."""
    return list(arguments[:1]) == ["serve"] and not {"-h", "--help", "--show-settings"} & set(arguments)


def put_in_order(daemon: bool) -> None:
    """daemon: signals wait, until it is there to take them. Else none that a parent has blocked does."""
    for descriptor in range(3):
        _occupy(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() if daemon else ())


def _occupy(descriptor: int) -> None:
    """Where it is closed, it is opened the wrong way round: to use it is an error still, and harms nothing."""
    try:
        os.fstat(descriptor)
    except OSError:
        # The lowest that is free, which is this one: those below are open by now.
        os.set_inheritable(os.open(os.devnull, os.O_WRONLY if descriptor == 0 else os.O_RDONLY), True)
