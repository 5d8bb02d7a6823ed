"""Records and rules of a UTXO set, behind one interface: `open_store(url)` gives a Store, and everything is done by its
`batch_operate`.

Knows nothing of queues, workers or items of a request: a call gets record operations and a time budget.

    interface      what every store promises: record operations, results, StoreError, Store, BlobStore
    opening        a store's URL, and the store that it names
    url            what the URLs of all stores have in common
    set_settings   what is fixed for the life of a set: outputs per record, genesis height, layout
    layout         keys and bins of records, as a creation makes them
    transaction    transactions and blocks as bytes
    rules/         the rules in Lua
    blobs          large transactions, as files
    fork_guard     a store works in the process that opened it
    lmdb/          the embedded store
    aerospike/     the store in an Aerospike cluster
    null           keeps nothing
    faulty         injects faults into another store
"""

from .interface import (
    BlobStore,
    ErrorKind,
    Mode,
    Read,
    RecordOperation,
    Remove,
    Result,
    RuleCall,
    Status,
    Store,
    StoreError,
    Value,
    Write,
)
from .opening import open_store

__all__ = [
    "BlobStore",
    "ErrorKind",
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
