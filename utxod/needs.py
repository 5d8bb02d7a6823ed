"""How large the daemon's limits must be to take a transaction."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from protocol.wire import ARRAY_HEADER_BYTES, Limits
from store.transaction import Transaction

# At most, beside the transaction itself; and of a spend.
_CREATE_BYTES: Final = 64
_SPEND_BYTES: Final = 128


class Needs(NamedTuple):
    """Named as the broker's settings are; 0 where it does not matter."""

    max_items: int = 0
    max_body_bytes: int = 0

    @classmethod
    def of_spends(cls, transaction: Transaction) -> "Needs":
        """They go in one request."""
        inputs = len(transaction.inputs)
        return cls(inputs, inputs * _SPEND_BYTES + ARRAY_HEADER_BYTES)

    @classmethod
    def of_creation(cls, transaction: Transaction) -> "Needs":
        return cls(0, len(transaction.raw) + _CREATE_BYTES + ARRAY_HEADER_BYTES)

    @classmethod
    def of(cls, transactions: Sequence[Transaction]) -> "Needs":
        """Of all of them, one at least."""
        widest = max(transactions, key=lambda transaction: len(transaction.inputs))
        longest = max(transactions, key=lambda transaction: len(transaction.raw))
        return cls.of_spends(widest).combined_with(cls.of_creation(longest))

    def combined_with(self, other: "Needs") -> "Needs":
        """What fits both."""
        return Needs(max(self.max_items, other.max_items), max(self.max_body_bytes, other.max_body_bytes))

    def settings(self) -> list[str]:
        """KEY=VALUE of each that matters."""
        return [f"broker.{name}={value}" for name, value in self._asdict().items() if value]


DEFAULTS: Final = Needs(Limits().max_items, Limits().max_body_bytes)
