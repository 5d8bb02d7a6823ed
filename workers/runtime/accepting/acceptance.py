"""One transaction that is to be accepted, and what has become of it."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from protocol.codes import UNKNOWN
from protocol.item_flags import ACCEPT_CONFLICTING
from protocol.wire import Error
from store.transaction import Transaction, parse_transaction
from workers.runtime.creation.candidate import Candidate
from workers.runtime.creation.master import Master
from workers.runtime.item_checks import BadItem
from workers.runtime.spending.parsed_spend import ParsedSpend


class Acceptance(Struct, gc=False):
    """index: of its item. outpoints: of what its inputs spend, one by one. mined: blocks, as in the item. parts: the
    numbers of its spends, one for each input, and of its creation, which is the last; nothing else of the dispatch has
    them. spends, candidate: what is to be tried, once that is known. found: what its record says, where it was there
    already.

    is_begun: something of it may be written, by this dispatch. Set before that is tried, and taken off where all of it
    is known to be put back, or to have been refused. is_accepted, error: what came of it, one of them at the end."""

    index: int
    transaction: Transaction
    outpoints: Sequence[tuple[bytes, int]]
    height: int
    mined: Sequence[Sequence[int]]
    flags: int
    parts: range
    spends: Sequence[ParsedSpend] = ()
    candidate: Candidate | None = None
    found: Master | None = None
    is_begun: bool = False
    is_accepted: bool = False
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

    def is_refused(self, errors: dict[int, Error]) -> bool:
        """errors: by number."""
        return bool(errors) and any(part in errors for part in self.parts)

    def fail(self, error: Error) -> None:
        """With an error that says nothing of what it spends: where it is begun, nobody knows what stands of it; else
        nobody has looked at what another attempt may have left."""
        outpoints = [list(outpoint) for outpoint in self.outpoints] if self.spends_something else []
        details = dict(error.details)
        if self.is_begun or error.executed == UNKNOWN:
            error, details["outpoints"] = error._replace(executed=UNKNOWN), outpoints
        elif self.found is None and outpoints:
            details["unseen"] = outpoints
        self.error = error._replace(details=details)

    def end_creation(self) -> None:
        """After its creation was tried. One that is conflicting is still to be noted in its parents."""
        self.is_accepted = self.error is None and self.found is None and not self.is_conflicting

    def describe(self) -> dict[str, Any]:
        """The result of one that was accepted. Of one that was there what its txid does not tell is its record's."""
        assert self.candidate is not None
        master, found = self.candidate.creation.master, self.found
        fee = master.get("fee") if found is None else found.fee
        result = {
            "txID": self.txid,
            "created": found is None,
            "conflicting": self.is_conflicting if found is None else bool(found.conflicting),
            "isCoinbase": self.transaction.is_coinbase,
            "sizeInBytes": self.transaction.size,
            "totalUtxos": master["totalUtxos"],
            "records": len(self.candidate.creation.records),
        }
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
