"""The protocols between submitter, daemon and worker; the client is in client/. Users import from here.

It imports nothing else of ours, and only relatively: it is also published alone, as `utxod-client` (utxod_client).
"""

from .client.asynchronous.client import AsyncClient
from .client.blocking.client import Client
from .client.errors import (
    Abandoned,
    BadRequest,
    ClientClosed,
    Creating,
    DeadlineExceeded,
    Fault,
    Leftover,
    Locked,
    NoAnswer,
    Overloaded,
    Rejection,
    SpenderExists,
    Spent,
    TxExists,
    TxNotFound,
    Unavailable,
    UtxodError,
)
from .client.items import (
    Abandonment,
    AcceptItem,
    CreateItem,
    Increment,
    MarkLongestChain,
    Reassignment,
    SetConflicting,
    SetDah,
    SetLocked,
    SetMined,
    Spend,
)
from .client.results import Accepted, Conflict, Incremented, Outcome, Outpoint, Utxo
from .hashing import utxo_hash
from .item_flags import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from .mined_block import MinedBlock

__all__ = [
    "SPEND_IGNORE_CONFLICTING",
    "SPEND_IGNORE_LOCKED",
    "Abandoned",
    "Abandonment",
    "AcceptItem",
    "Accepted",
    "AsyncClient",
    "BadRequest",
    "Client",
    "ClientClosed",
    "Conflict",
    "CreateItem",
    "Creating",
    "DeadlineExceeded",
    "Fault",
    "Increment",
    "Incremented",
    "Leftover",
    "Locked",
    "MarkLongestChain",
    "MinedBlock",
    "NoAnswer",
    "Outcome",
    "Outpoint",
    "Overloaded",
    "Reassignment",
    "Rejection",
    "SetConflicting",
    "SetDah",
    "SetLocked",
    "SetMined",
    "Spend",
    "SpenderExists",
    "Spent",
    "TxExists",
    "TxNotFound",
    "Unavailable",
    "Utxo",
    "UtxodError",
    "utxo_hash",
]
