"""Which pool executes an operation, and what may follow from what.

Work that follows from work goes to a pool of a higher rank only, so that no cycle of waiting can be built.
"""

from typing import Final, NamedTuple

READ_POOL: Final = "read"
WRITE_POOL: Final = "write"
CHILDREN_POOL: Final = "children"


class PoolKind(NamedTuple):
    """has_follow_ups: its work may have some. repeatable: its work changes nothing, and may be dispatched again."""

    rank: int
    has_follow_ups: bool
    repeatable: bool


POOLS: Final = {
    READ_POOL: PoolKind(rank=0, has_follow_ups=False, repeatable=True),
    WRITE_POOL: PoolKind(rank=0, has_follow_ups=True, repeatable=False),
    CHILDREN_POOL: PoolKind(rank=1, has_follow_ups=False, repeatable=False),
}

# Of what a submitter may send.
POOL_OF_REQUEST: Final = {
    "get": READ_POOL,
    "outpoint": READ_POOL,
    "utxo": READ_POOL,
    "accept": WRITE_POOL,
    "create": WRITE_POOL,
    "spend": WRITE_POOL,
    "unspend": WRITE_POOL,
    "abandon": WRITE_POOL,
    "set_locked": WRITE_POOL,
    "set_mined": WRITE_POOL,
    "mark_longest_chain": WRITE_POOL,
    "freeze": WRITE_POOL,
    "unfreeze": WRITE_POOL,
    "reassign": WRITE_POOL,
    "preserve_until": WRITE_POOL,
    "set_conflicting": WRITE_POOL,
    "increment": CHILDREN_POOL,
    "set_dah": CHILDREN_POOL,
}

# Of what a worker may send.
POOL_OF_FOLLOW_UP: Final = {
    "note_child": CHILDREN_POOL,
    "set_dah_children": CHILDREN_POOL,
    "lock_children": CHILDREN_POOL,
}

# What of a submitter's may have owed follow-ups, or leave something half done: where its worker is lost, that is noted.
MAY_OWE: Final = frozenset(
    {
        "accept",
        "create",
        "spend",
        "unspend",
        "abandon",
        "set_locked",
        "set_mined",
        "mark_longest_chain",
        "preserve_until",
        "set_conflicting",
    }
)
