"""A block that a transaction is in, as a creation names it."""

from typing import NamedTuple


class MinedBlock(NamedTuple):
    """block_id: the submitter's number for the block. block_height: its height. subtree_index: of the subtree in the
    block that holds the transaction."""

    block_id: int
    block_height: int
    subtree_index: int
