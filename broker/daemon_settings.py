"""Everything that can be set about the daemon. Most of it is the broker's; what concerns the store and the workers is
passed on, and not understood here.
"""

import os
from dataclasses import dataclass, field
from typing import Annotated, Final

from annotated_types import Interval

from .settings import BrokerSettings, Patience

# Of an embedded set 1,024 processes can read at a time: three pools, and those who look.
MOST_WORKERS: Final = 256
Workers = Annotated[int, Interval(ge=1, le=MOST_WORKERS)]


def _xdg(variable: str, fallback: str) -> str:
    """A directory of ours; empty where nobody knows a home, neither HOME nor the list of users."""
    home = os.path.expanduser("~")
    base = os.environ.get(variable) or (os.path.join(home, fallback) if os.path.isabs(home) else "")
    return base and os.path.join(base, "utxod")


def _default_store() -> str:
    directory = _xdg("XDG_DATA_HOME", ".local/share")
    return directory and f"lmdb://{directory}"


def _default_state() -> str:
    return _xdg("XDG_STATE_HOME", ".local/state")


@dataclass(frozen=True)
class WorkerCounts:
    """How many workers each pool is to have."""

    read: Workers = field(default=1, metadata={"help": "workers that read (get, outpoint)"})
    write: Workers = field(default=1, metadata={"help": "workers that write (create, spend, set_locked)"})
    children: Workers = field(default=1, metadata={"help": "workers for child records and counters"})

    @property
    def total(self) -> int:
        return self.read + self.write + self.children


@dataclass(frozen=True)
class Settings:
    """Everything that can be set about the daemon."""

    store: str = field(
        default_factory=_default_store,
        metadata={"help": "where the UTXO set is: lmdb:///directory, aerospike://host/namespace, null: (to measure)"},
    )
    listen: tuple[str, ...] = field(default=(), metadata={"help": "addresses for submitters, ipc:// or tcp://"})
    state: str = field(
        default_factory=_default_state,
        metadata={"help": "directory for the list of what is in doubt, in-doubt.jsonl"},
    )
    workers: WorkerCounts = field(default_factory=WorkerCounts)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    # 190 years of blocks: a height with this added is still one, of 32 bits.
    block_height_retention: Annotated[int, Interval(ge=0, le=10_000_000)] = field(
        default=288, metadata={"help": "blocks after which a spent transaction may be deleted"}
    )
    drain_seconds: Patience = field(default=10.0, metadata={"help": "how long shutting down may take, in seconds"})
