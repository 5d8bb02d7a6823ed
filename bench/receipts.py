"""What receipts cost: a daemon that keeps them, beside one that does not."""

from typing import Final

from .report import Report
from .side_by_side import Side, side_by_side

GOAL: Final = 0.97


def receipts(rounds: int, seconds: float) -> Report:
    """seconds: of each load, in each round."""
    without = Side("without receipts", ("--set", "receipts_bytes=0"))
    return side_by_side("receipts", Side("with receipts"), without, GOAL, rounds, seconds)
