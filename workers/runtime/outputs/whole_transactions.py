"""Whole transactions, each read and checked against its id once in a dispatch."""

from collections.abc import Mapping
from typing import Any, Final

from store import Read
from store.layout import raw_transaction
from store.transaction import Transaction, parse_transaction
from workers.runtime.context import DispatchContext

_BINS: Final = ("version", "locktime", "extendedSize", "inputs", "outputs")


class Damaged(Exception):
    """What the store has is not what was created, or can't be read."""


class WholeTransactions:
    def __init__(self, context: DispatchContext) -> None:
        self._context = context
        self._known: dict[bytes, Transaction] = {}

    def get(self, txid: bytes, master: Mapping[str, Any]) -> Transaction:
        """master: bins of its master record, `external` among them. Raises Damaged, ValueError, OSError, StoreError."""
        if txid not in self._known:
            self._context.check_budget()
            if master.get("external"):
                raw = self._context.store.blobs.get(txid)
            else:
                (result,) = self._context.read([Read(txid, _BINS)])
                raw = raw_transaction(result.value)
            whole = None if raw is None else parse_transaction(raw)
            if whole is None or whole.txid != txid:
                raise Damaged("what the store has is not this transaction")
            self._known[txid] = whole
        return self._known[txid]
