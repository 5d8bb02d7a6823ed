"""Which records are there for the rules."""

from typing import TypeGuard

from store.layout import ABANDONED
from store.lmdb.record import Record


def is_there(record: Record | None) -> TypeGuard[Record]:
    """Whether there is a transaction. A record that bars its creation, while what it spends is given back, is none: it
    has no other bin, which saves looking for this one wherever there is a txID."""
    return record is not None and (record.bins.txID is not None or ABANDONED not in record.rest)
