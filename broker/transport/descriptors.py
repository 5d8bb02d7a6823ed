"""File descriptors: how many there may be, and whether some are left.

Whoever runs out of them fails in surprising places: libzmq ends its process. So the limit is raised as far as it may
be, and before something takes descriptors for good it is asked whether they, and a reserve, can be had.
"""

import os
import resource
from contextlib import suppress
from typing import Final

from .places import MOST_PENDING

_OF_THIS_PROCESS: Final = "/proc/self/fd"
# What the daemon has open itself.
_OWN: Final = 32
# Of a worker: its connection, and what tells of its end.
_A_WORKER: Final = 2
# What is kept free beside as much for the workers again: to start them, and for files.
_KEPT: Final = 24
# What letting in those who wait at a place may take: their connections, and the next socket of the place.
FOR_PENDING_CONNECTIONS: Final = MOST_PENDING + 3


def reserve(workers: int) -> int:
    """What newcomers among the submitters must leave, so that all workers can be replaced and files be opened."""
    return _KEPT + _A_WORKER * workers


def make_room(workers: int) -> str:
    """Raises the limit, and says in words how many submitters fit beside so many workers. Raises OSError where none
    does."""
    before, limit = raise_limit()
    room = left() - _OWN - _A_WORKER * workers - reserve(workers) - FOR_PENDING_CONNECTIONS
    if room <= 0:
        raise OSError(
            f"the limit of descriptors is {limit}, and the daemon needs {limit - room + 1} at least: "
            "raise the hard limit (ulimit -Hn, LimitNOFILE=), or start fewer workers"
        )
    return f"room for some {room} submitters: the limit of descriptors is {limit} (it was {before})"


def raise_limit() -> tuple[int, int]:
    """Raises the soft limit of this process to the hard one. Returns the limit that it had, and the one that it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # what is not allowed here stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def left() -> int:
    """How many can still be had; 0 or less where the limit was lowered below what is open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return limit - _count_open()
    except OSError:  # not even one to count them
        return 0


def in_use() -> tuple[int, int]:
    """How many are open, and how many may be."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return _count_open(), limit
    except OSError:
        return limit, limit  # not even one to count them


def take(count: int, like: int) -> list[int]:
    """So many duplicates of a descriptor, which nobody else can have until `give_back`. Raises OSError where there are
    not so many; then it has taken none."""
    taken: list[int] = []
    try:
        for _ in range(count):
            taken.append(os.dup(like))
    except OSError:
        give_back(taken)
        raise
    return taken


def give_back(taken: list[int]) -> None:
    """Closes what `take` has taken, and empties the list."""
    for descriptor in taken:
        os.close(descriptor)
    taken.clear()


def _count_open() -> int:
    """They are not tried: a trial that fails has taken the last one, at which another thread may fail."""
    with suppress(OSError):
        # Since Linux 6.2 the size of the directory is their number, and needs none to be read.
        return os.stat(_OF_THIS_PROCESS).st_size or len(os.listdir(_OF_THIS_PROCESS))
    # Where /proc can't be read: the lowest that is free, which is right but for gaps.
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    return lowest
