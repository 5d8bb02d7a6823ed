"""Whole transactions, out of their records or their blobs, and checked against their ids."""

import struct
from collections.abc import Mapping
from typing import Any, Final

from store import Read
from store.layout import raw_transaction
from store.transaction import Transaction, parse_transaction
from workers.runtime.context import DispatchContext

WHOLE_BINS: Final = ("external", "version", "locktime", "extendedSize", "inputs", "outputs")
# What reading a record raises that is not what was written.
UNREADABLE: Final = (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, OSError, struct.error)


class Damaged(Exception):
    """What the store has is not what was created, or can't be read."""


def read_whole(context: DispatchContext, txid: bytes, bins: Mapping[str, Any]) -> Transaction | None:
    """None where only some of its outputs are known. bins: WHOLE_BINS of its master record. Raises Damaged, any of
    UNREADABLE, and StoreError where the budget is used up."""
    if "version" not in bins:
        return None
    context.check_budget()  # a blob's disk knows of no budget
    raw = _blob(context, txid) if bins.get("external") else raw_transaction(bins)
    if raw is None:
        raise Damaged("the store has only some of its outputs, where it is known as a whole")
    whole = parse_transaction(raw)
    if whole.txid != txid:
        raise Damaged("what the store has is not this transaction")
    return whole


def _blob(context: DispatchContext, txid: bytes) -> bytes | None:
    with context.store_time():
        return context.store.blobs.get(txid)


class WholeTransactions:
    """One at a time is kept, as it may be of any size: who asks for one after the other reads each once."""

    def __init__(self, context: DispatchContext) -> None:
        self._context = context
        self._latest: Transaction | None = None

    def get(self, txid: bytes, master: Mapping[str, Any]) -> Transaction:
        """master: bins of its master record, `external` and `version` among them. Raises as `read_whole`."""
        if self._latest is None or self._latest.txid != txid:
            self._latest = None  # before the next one is there too
            self._latest = self._read(txid, master)
        return self._latest

    def _read(self, txid: bytes, bins: Mapping[str, Any]) -> Transaction:
        if not bins.get("external"):
            (result,) = self._context.read([Read(txid, WHOLE_BINS)])
            bins = result.value
        whole = read_whole(self._context, txid, bins)
        if whole is None:
            raise Damaged("the store has only some of its outputs")
        return whole
