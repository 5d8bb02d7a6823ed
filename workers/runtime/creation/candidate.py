"""A transaction that is to be created, and the errors of those that were not."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store.layout import Creation, Partial, child_index
from store.transaction import Transaction

# When it is worth asking again, in milliseconds: for a transaction that somebody else is creating, and for one that is
# being abandoned.
SOON_MS: Final = 100
LATER_MS: Final = 1000

_MAX_LEFTOVERS_TOLD: Final = 100

# By item index.
ItemErrors = dict[int, Error]


class Candidate(Struct, gc=False):
    """item_index: its place in the batch. source: the transaction, or what is known of it. creation: its records.
    has_own_blob: what the blob store has of it was put by this attempt."""

    item_index: int
    source: Transaction | Partial
    conflicting: bool
    creation: Creation
    has_own_blob: bool = False

    @property
    def txid(self) -> bytes:
        return self.source.txid

    @property
    def group(self) -> int | None:
        """Of the writes of its records; None where it has one, which is written as a whole or not at all."""
        return self.item_index if len(self.creation.records) > 1 else None

    @property
    def children(self) -> list[tuple[bytes, dict[str, Any]]]:
        """The keys and bins of its child records."""
        return self.creation.records[1:]


def without_errors(candidates: Iterable[Candidate], errors: ItemErrors) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.item_index not in errors]


def creating_error() -> Error:
    return Error(codes.CREATING, NO, "another creation of it is under way", SOON_MS)


def exists_error() -> Error:
    return Error(codes.TX_EXISTS, NO, "transaction: is in the set already")


def only_partial_error() -> Error:
    """Of one that can't be accepted: most of its outputs are not in the set."""
    message = (
        "transaction: only some of its outputs are in the set, by a partial creation: it can't be accepted as it is"
    )
    return Error(codes.TX_EXISTS, NO, message)


def abandoned_error() -> Error:
    return Error(codes.ABANDONED, NO, "transaction: is being abandoned: what it holds is given back", LATER_MS)


def vanished_error() -> Error:
    """Of one that was found, and is never created anew."""
    return Error(codes.TX_NOT_FOUND, NO, "transaction: it was in the set a moment ago, and is not any more")


def leftover_error(keys: Sequence[bytes]) -> Error:
    """keys: of child records that stand there without their master."""
    key = keys[0]
    message = (
        f"child record {child_index(key)} (key {key.hex()}) is left of an earlier life of the transaction; "
        f"`utxod leftovers {key[31::-1].hex()} --remove` removes such records"
    )
    return Error(codes.LEFTOVER, NO, message, 0, {"keys": list(keys[:_MAX_LEFTOVERS_TOLD])})
