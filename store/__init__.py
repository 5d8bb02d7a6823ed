"""Records and rules of a UTXO set, behind one seam: `open_store(url)` gives a Store, `Store.batch_operate` does it all.

Knows nothing of queues, workers or items: a call gets a time budget.
"""

from .blobs import BlobStore
from .opening import open_store
from .seam import Call, Mode, Read, Record, Remove, Result, Status, Store, StoreError, Value, Write

__all__ = [
    "BlobStore",
    "Call",
    "Mode",
    "Read",
    "Record",
    "Remove",
    "Result",
    "Status",
    "Store",
    "StoreError",
    "Value",
    "Write",
    "open_store",
]
