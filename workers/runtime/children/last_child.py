"""What the last of a transaction's child records tells of all of them: so a master's word is not sent to thousands of
children that have it.

It gets the delete-at-height after all others have it (delete_at_height.py). So where it has its master's, they do,
unless a writer that was overtaken died half way.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from store import Read, Result, Status
from store.layout import child_key
from workers.runtime.context import DispatchContext


class LastChild(NamedTuple):
    """is_behind: its delete-at-height is not its master's. is_locked: as it says itself. Both are so where that can't
    be read: whoever sends the word will say why."""

    is_behind: bool
    is_locked: bool


_UNKNOWN: Final = LastChild(True, True)


def read_last_children(context: DispatchContext, child_counts: Mapping[bytes, int]) -> dict[bytes, LastChild]:
    """child_counts: by txid, above 0."""
    reads: list[Read] = []
    for txid, count in child_counts.items():
        reads += [Read(txid, ("deleteAtHeight",)), Read(child_key(txid, count), ("deleteAtHeight", "locked"))]
    results = context.try_operate(reads)
    return dict(zip(child_counts, map(_compare, results[::2], results[1::2]), strict=True))


def _compare(master: Result, child: Result) -> LastChild:
    if not all(result.status is Status.OK and type(result.value) is dict for result in (master, child)):
        return _UNKNOWN
    is_behind = master.value.get("deleteAtHeight") != child.value.get("deleteAtHeight")
    return LastChild(is_behind, child.value.get("locked") is not False)
