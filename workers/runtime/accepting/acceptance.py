"""One transaction that is to be accepted, and what has become of it."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from protocol import codes
from protocol.item_flags import ACCEPT_CONFLICTING
from protocol.wire import Error
from store.layout import SPENDING_DATA_BYTES
from store.transaction import Transaction, parse_transaction
from workers.runtime.creation.candidate import Candidate
from workers.runtime.creation.found import Found
from workers.runtime.item_checks import BadItem
from workers.runtime.spending.parsed_spend import ParsedSpend

_OUTPOINT_BYTES: Final = 36


class Acceptance(Struct):
    """index: of its item. parts: the numbers of its spends, and of its creation, which is the last; no other one of the
    dispatch has them. spends, candidate: what is to be tried, once that is known. found: what its record says, where it
    was there already. error: why it was not accepted."""

    index: int
    transaction: Transaction
    height: int
    mined: Sequence[Sequence[int]]
    flags: int
    parts: range
    spends: Sequence[ParsedSpend] = ()
    candidate: Candidate | None = None
    found: Found | None = None
    error: Error | None = None
"""
