"""One transaction that is to be accepted, and what has become of it."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from protocol.item_flags import ACCEPT_CONFLICTING
from protocol.wire import Error
from store.transaction import Transaction, parse_transaction
from workers.runtime.creation.candidate import Candidate
from workers.runtime.creation.found import Found
from workers.runtime.item_checks import BadItem
from workers.runtime.spending.parsed_spend import ParsedSpend


class Acceptance(Struct, gc=False):
    """index: of its item. outpoints: of what its inputs spend, one by one. mined: blocks, as in the item. parts: the
    numbers of its spends, one for each input, and of its creation, which is the last; nothing else of the dispatch has
    them. spends, candidate: what is to be tried, once that is known. found: what its record says, where it was there
    already. error: why it was not accepted."""

    index: int
    transaction: Transaction
    outpoints: Sequence[tuple[bytes, int]]
    height: int
    mined: Sequence[Sequence[int]]
    flags: int
    parts: range
    spends: Sequence[ParsedSpend] = ()
    candidate: Candidate | None = None
    found: Found | None = None
    error: Error | None = None

    @property
    def txid(self) -> bytes:
        return self.transaction.txid

    @property
    def creation(self) -> int:
        """The number of its creation."""
        return self.parts[-1]

    @property
    def is_conflicting(self) -> bool:
        """As it is to be."""
        return self.flags & ACCEPT_CONFLICTING != 0

    @property
    def spends_something(self) -> bool:
        return not (self.is_conflicting or self.transaction.is_coinbase)

    def failed(self, errors: dict[int, Error]) -> bool:
        """errors: by number."""
        return bool(errors) and any(part in errors for part in self.parts)

    def describe(self) -> dict[str, Any]:
        """The result of one that was accepted."""
        assert self.candidate is not None
        master, found = self.candidate.creation.master, self.found
        result = {
            "txID": self.txid,
            "created": found is None,
            "conflicting": self.is_conflicting if found is None else bool(found.get("conflicting")),
            "isCoinbase": self.transaction.is_coinbase,
            "sizeInBytes": self.transaction.size,
            "totalUtxos": master["totalUtxos"],
            "records": len(self.candidate.creation.records),
        }
        fee = master.get("fee", found and found.get("fee"))
        return result if fee is None else result | {"fee": fee}


def parse_acceptance(index: int, item: Sequence[Any], first_part: int) -> Acceptance:
    """Raises BadItem."""
    raw, height, mined, flags = item
    try:
        transaction = parse_transaction(raw)
    except ValueError as error:
        raise BadItem(str(error)) from error
    outpoints = transaction.outpoints
    if len(set(outpoints)) < len(outpoints):
        raise BadItem("raw: two inputs spend the same output")
    parts = range(first_part, first_part + len(outpoints) + 1)
    return Acceptance(index, transaction, outpoints, height, mined, flags, parts)
