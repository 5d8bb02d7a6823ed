"""The protocols between submitter, daemon and worker; the client is in client/. Users import from here.

It imports nothing else of ours, and only relatively: it is also published alone, as `utxod-client` (utxod_client).
"""

# ruff: noqa: F405 - the client's names, which are there when they are asked for

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .hashing import utxo_hash
from .item_flags import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from .mined_block import MinedBlock

if TYPE_CHECKING:
    from .client import *  # noqa: F403

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


def __getattr__(name: str) -> Any:
    """What is the client's is loaded when somebody asks for it: daemon and workers need the words on the wire alone.
    With asyncio and ssl it would take a quarter of the time of a worker's start, and of its memory."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(".client", __name__), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, *globals()]
