"""Entries by their deadline, in buckets as wide as a sweep.

So adding, removing and sweeping cost the same however many are pending, and nothing of an answered entry stays behind
until its deadline. Owed work, which has none, is kept beside them.
"""

import heapq
from collections.abc import Iterator
from itertools import islice

from .entry import NEVER, Entry


class Deadlines:
    """bucket_us: how wide a bucket is, in microseconds."""

    def __init__(self, bucket_us: int) -> None:
        self._bucket_us = bucket_us
        self._buckets: dict[int, dict[Entry, None]] = {}
        self._order: list[int] = []
        self._owed: dict[Entry, None] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Entry]:
        for bucket in self._buckets.values():
            yield from bucket
        yield from self._owed

    def add(self, entry: Entry) -> None:
        """Keeps the entry until `discard` or `take_expired`; owed work until `discard`."""
        self._bucket_of(entry)[entry] = None
        self._size += 1

    def discard(self, entry: Entry) -> None:
        """Takes the entry out, where `take_expired` has not done so before."""
        bucket = self._owed if entry.deadline == NEVER else self._buckets.get(entry.deadline // self._bucket_us)
        if bucket is not None and entry in bucket:
            del bucket[entry]
            self._size -= 1
            if not bucket:
                bucket.clear()  # gives the room of those that were in it back now, and not at their deadline

    def take_expired(self, now: int, most: int) -> list[Entry]:
        """Removes and returns the entries whose deadline has come at `now` (microseconds), up to so many."""
        current = now // self._bucket_us
        found: list[Entry] = []
        while self._order and self._order[0] <= current and len(found) < most:
            number = self._order[0]
            bucket = self._buckets[number]
            due = list(islice((entry for entry in bucket if entry.deadline <= now), most - len(found)))
            for entry in due:
                del bucket[entry]
            found += due
            if not bucket:
                del self._buckets[heapq.heappop(self._order)]
            elif number == current:
                break
        self._size -= len(found)
        return found

    def _bucket_of(self, entry: Entry) -> dict[Entry, None]:
        if entry.deadline == NEVER:
            return self._owed
        number = entry.deadline // self._bucket_us
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heapq.heappush(self._order, number)
        return bucket
