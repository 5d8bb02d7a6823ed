"""What became of the spends of a batch."""

from typing import NamedTuple


class SpendOutcomes(NamedTuple):
    """By item index. applied: those that this attempt applied. lives: of all that stand, the life of the output. held:
    those that were refused, though their spender has the output."""

    applied: set[int]
    lives: dict[int, int]
    held: set[int]
