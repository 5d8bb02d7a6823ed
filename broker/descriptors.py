"""File descriptors: how many there may be, and whether some are left.

Whoever runs out of them fails in surprising places: libzmq ends its process. So the limit is raised as far as it may
be, and before something takes descriptors for good it is tried whether they, and a reserve, can be had.
"""

import os
import resource
from contextlib import suppress


def raise_limit() -> tuple[int, int]:
    """Raises the soft limit of this process to the hard one. Returns the limit that it had, and the one that it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # what is not allowed here stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, resource.getrlimit(resource.RLIMIT_NOFILE)[0]


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
    for descriptor in taken:
        os.close(descriptor)
    taken.clear()


def can_take(count: int, like: int) -> bool:
    """Whether so many can be had now. They are tried, not counted: a count would need /proc, and one to read it."""
    try:
        give_back(take(count, like))
    except OSError:
        return False
    return True


def left(limit: int) -> int:
    """About how many of so many can still be had. The lowest that is free tells how many are in use, but for gaps."""
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    return limit - lowest
