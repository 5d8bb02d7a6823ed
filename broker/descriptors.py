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


def can_open(count: int, like: int) -> bool:
    """Whether so many descriptors can be had now. like: an open one, to be duplicated.

    They are tried, not counted: a count would need /proc, and a descriptor to read it.
    """
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.dup(like))
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True


def left(limit: int) -> int:
    """About how many of so many can still be had. The lowest that is free tells how many are in use, but for gaps."""
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    return limit - lowest
