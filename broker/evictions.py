"""Evicts those that wait at a pool that can't serve them: by the slice, so that the loop never stands still for it."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from .entry import QUEUED, Entry
from .pool import Pool

GiveUp = Callable[[Entry, str, str, int], None]


class _Eviction(NamedTuple):
    pool: Pool
    entries: Iterator[Entry]
    code: str
    message: str
    retry_after: int


class Evictions:
    """give_up: answers an entry that waits, with code, message and milliseconds until asking again is of use."""

    def __init__(self, give_up: GiveUp) -> None:
        self._give_up = give_up
        self._under_way: dict[str, _Eviction] = {}

    def begin(self, pool: Pool, code: str, message: str, retry_after: int = 0) -> None:
        """Those that wait there now are to be answered, but for owed work."""
        waiting = [entry for entry in pool.queue if not entry.is_owed]
        self._under_way[pool.name] = _Eviction(pool, iter(waiting), code, message, retry_after)

    def is_under_way(self, pool: Pool) -> bool:
        """Whether some that waited there when it began are still to be answered."""
        return pool.name in self._under_way

    def go_on(self, most: int) -> bool:
        """Evicts up to so many. Returns whether some may be left. Where the pool serves again the others wait on."""
        for name, eviction in list(self._under_way.items()):
            if eviction.pool.serves:
                del self._under_way[name]
                continue
            for entry in islice(eviction.entries, most):
                most -= 1
                # One that is given up may drop others, as parts of the same answer.
                if entry.state is QUEUED:
                    self._give_up(entry, eviction.code, eviction.message, eviction.retry_after)
            if most == 0:
                return True
            del self._under_way[name]
        return False
