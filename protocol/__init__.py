"""The protocols between submitter, daemon and worker; the client is in client/. Users import from here.

It imports nothing else of ours, and only relatively: it is also published alone, as `utxod-client` (utxod_client).
"""

from .client.asynchronous import AsyncClient
from .client.blocking import Client
from .client.errors import (
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
    Spent,
    TxExists,
    TxNotFound,
    Unavailable,
    UtxodError,
)
from .client.items import CreateItem, Increment, SetDah, SetLocked, Spend
from .client.results import Incremented, Outcome, Outpoint
from .hashing import utxo_hash
from .item_flags import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from .mined_block import MinedBlock

__all__ = [
    "SPEND_IGNORE_CONFLICTING",
    "SPEND_IGNORE_LOCKED",
    "AsyncClient",
    "BadRequest",
    "Client",
    "ClientClosed",
    "CreateItem",
    "Creating",
    "DeadlineExceeded",
    "Fault",
    "Increment",
    "Incremented",
    "Leftover",
    "Locked",
    "MinedBlock",
    "NoAnswer",
    "Outcome",
    "Outpoint",
    "Overloaded",
    "Rejection",
    "SetDah",
    "SetLocked",
    "Spend",
    "Spent",
    "TxExists",
    "TxNotFound",
    "Unavailable",
    "UtxodError",
    "utxo_hash",
]
