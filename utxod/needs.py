"""What a transaction needs of the daemon's limits."""

from typing import Final, NamedTuple

from protocol.calls import ARRAY_HEADER_BYTES
from protocol.wire import Limits
from store.transaction import Transaction

_DEFAULTS: Final = Limits()
# At most, beside the transaction itself; and of a spend.
_CREATE_BYTES: Final = 64
_SPEND_BYTES: Final = 128


class Needs(NamedTuple):
    """Named as the broker's settings are. max_items: spends of one transaction, which go in one request.
    max_body_bytes: of that request, and of the one that creates it."""

    max_items: int = 0
    max_body_bytes: int = 0

    @classmethod
    def of(cls, transaction: Transaction) -> "Needs":
        inputs = len(transaction.inputs)
        return cls(inputs, max(len(transaction.raw) + _CREATE_BYTES, inputs * _SPEND_BYTES) + ARRAY_HEADER_BYTES)

    def joined(self, other: "Needs") -> "Needs":
        """What fits both."""
        return Needs(max(self.max_items, other.max_items), max(self.max_body_bytes, other.max_body_bytes))

    def settings(self) -> list[str]:
        """KEY=VALUE of each that is above the default."""
        pairs = self._asdict().items()
        return [f"broker.{name}={value}" for name, value in pairs if value > getattr(_DEFAULTS, name)]
