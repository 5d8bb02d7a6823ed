"""The operations by name, and the pool whose workers execute each. What an item of each looks like: docs/protocol.md.

A submitter may send any of `OPERATIONS`. `FOLLOW_UPS` come from workers only: work that follows from work.
"""

from typing import Final, NamedTuple

READ_POOL: Final = "read"
WRITE_POOL: Final = "write"
CHILDREN_POOL: Final = "children"


class PoolKind(NamedTuple):
    """rank: follow-up work goes to a pool of a higher rank only, so that no cycle of waiting can be built.
    feeds: its work may have follow-ups. repeatable: its work changes nothing, and may be dispatched a second time."""

    rank: int
    feeds: bool
    repeatable: bool


POOLS: Final = {
    READ_POOL: PoolKind(rank=0, feeds=False, repeatable=True),
    WRITE_POOL: PoolKind(rank=0, feeds=True, repeatable=False),
    CHILDREN_POOL: PoolKind(rank=1, feeds=False, repeatable=False),
}

OPERATIONS: Final = {
    "get": READ_POOL,
    "outpoint": READ_POOL,
    "create": WRITE_POOL,
    "spend": WRITE_POOL,
    "abandon": WRITE_POOL,
    "set_locked": WRITE_POOL,
    "increment": CHILDREN_POOL,
    "set_dah": CHILDREN_POOL,
}

FOLLOW_UPS: Final = {
    "note_child": CHILDREN_POOL,
    "set_dah_children": CHILDREN_POOL,
    "lock_children": CHILDREN_POOL,
}

# What of a submitter's may have owed follow-ups, or leave something half done: where its worker is lost, that is noted.
MAY_OWE: Final = frozenset({"create", "spend", "abandon", "set_locked"})

# Flags of a `create` item.
CREATE_CONFLICTING: Final = 1
CREATE_LOCKED: Final = 2
CREATE_COINBASE: Final = 4  # partial creations only: a whole transaction says so itself

# Flags of a `spend` item.
SPEND_IGNORE_CONFLICTING: Final = 1
SPEND_IGNORE_LOCKED: Final = 2
