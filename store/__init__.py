"""Records and rules of a UTXO set, behind one seam: `open_store(url)` gives a Store, `Store.batch_operate` does it all.

Knows nothing of queues, workers or items: a call gets a time budget.
"""

from .blobs import BlobStore
from .interface import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Store, StoreError, Value, Write
from .opening import open_store

__all__ = [
    "BlobStore",
    "Mode",
    "Read",
    "RecordOperation",
    "Remove",
    "Result",
    "RuleCall",
    "Status",
    "Store",
    "StoreError",
    "Value",
    "Write",
    "open_store",
]
