"""What the rings tell of themselves: from when to when nothing is missing, so that of a request that is not found in
them it can be said whether that means anything.

Something is missing where a block is not there or torn, where the numbers of a daemon's messages have a gap or do not
begin with the first, and behind the last message of a daemon of which nobody wrote down that it had ended. Times are
microseconds since 1970.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from .ring import Head


class Block(NamedTuple):
    """A sound block. begins, ends: whether the daemon's start, or its end, is in it."""

    path: Path
    place: int
    head: Head
    begins: bool
    ends: bool

    @property
    def since(self) -> int:
        return self.head.since + self.head.offset

    @property
    def until(self) -> int:
        return self.head.until + self.head.offset


class Coverage(NamedTuple):
    """since: what was before has been overwritten, or there was nothing. until: what is known of the daemon of which
    the least is. gaps: what is missing in between, from when to when. starts: of daemons, how many."""

    since: int
    until: int
    gaps: list[tuple[int, int]]
    starts: int

    def is_whole(self, since: int, until: int) -> bool:
        """Whether nothing is missing of that time."""
        within = self.since <= since and until <= self.until
        return within and not any(begin <= until and since <= end for begin, end in self.gaps)


def coverage_of(blocks: Iterable[Block]) -> Coverage | None:
    """None where there are no blocks."""
    by_file: dict[Path, list[Block]] = defaultdict(list)
    by_epoch: dict[int, list[Block]] = defaultdict(list)
    for block in blocks:
        by_file[block.path].append(block)
        by_epoch[block.head.epoch].append(block)
    if not by_file:
        return None
    ended = {epoch for epoch, own in by_epoch.items() if any(block.ends for block in own)}
    begun = {block.head.epoch for own in by_epoch.values() for block in own if block.head.first == 1}
    gaps: list[tuple[int, int]] = []
    since = until = 0
    last_of_open: list[int] = []
    for own in by_file.values():
        own.sort(key=lambda block: block.head.sequence)
        if own[0].head.sequence > 1 or not own[0].begins:
            since = max(since, own[0].since)
        gaps += _gaps_of_file(own, begun, ended)
        until = max(until, own[-1].until)
        if own[-1].head.epoch not in ended:
            last_of_open.append(max(block.until for block in by_epoch[own[-1].head.epoch]))
    for own in by_epoch.values():
        gaps += _gaps_of_epoch(own)
    first = min(block.since for own in by_file.values() for block in own)
    return Coverage(max(since, first), min(last_of_open, default=until), sorted(set(gaps)), len(by_epoch))


def _gaps_of_file(blocks: list[Block], begun: set[int], ended: set[int]) -> Iterable[tuple[int, int]]:
    """blocks: of one file, in their order. begun, ended: daemons of which the first message is there, and the end."""
    for block, following in pairwise(blocks):
        head, after = block.head, following.head
        is_cut = head.epoch != after.epoch and (head.epoch not in ended or after.epoch not in begun)
        if after.sequence > head.sequence + 1 or is_cut:
            yield _between(head, after)


def _gaps_of_epoch(blocks: list[Block]) -> Iterable[tuple[int, int]]:
    """blocks: of one start of a daemon, whatever files they are in."""
    blocks.sort(key=lambda block: block.head.first)
    last = blocks[0]
    for block in blocks[1:]:
        if block.head.first > last.head.last + 1:
            yield _between(last.head, block.head)
        if block.head.last > last.head.last:
            last = block


def _between(head: Head, after: Head) -> tuple[int, int]:
    """From the end of a block to the beginning of a later one; where the time of day was set meanwhile, by whichever it
    was."""
    moments = [head.until + head.offset, after.since + after.offset]
    if after.since >= head.until:  # else the machine was started anew
        moments += [head.until + after.offset, after.since + head.offset]
    return min(moments), max(moments)
