"""How large the daemon's limit of a request must be to take a transaction."""

from typing import Final

from protocol.wire import ARRAY_HEADER_BYTES, Limits
from store.transaction import Transaction

_BESIDE_BYTES: Final = 64  # at most, in an item of `accept` beside the transaction itself


def body_bytes(transaction: Transaction) -> int:
    return len(transaction.raw) + _BESIDE_BYTES + ARRAY_HEADER_BYTES


def setting(needed: int) -> str:
    """KEY=VALUE. needed: bytes; no fewer than by default are set."""
    return f"broker.max_body_bytes={max(needed, Limits().max_body_bytes)}"
