"""Everything that can be set about the daemon. Most of it is the broker's; what concerns the store and the workers is
passed on, and not understood here.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Final, Literal

from annotated_types import Interval

from .settings import PATIENCE_REASON, BrokerSettings, Patience

MOST_WORKERS: Final = 256
_WORKERS_REASON: Final = "of an embedded set 1,024 processes can read at a time: three pools, and those who look"
Workers = Annotated[int, Interval(ge=1, le=MOST_WORKERS)]


class SettingsFault(Exception):
    """Settings can't be read again; the message says what is wrong with them, in a line."""


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

    read: Workers = field(
        default=1,
        metadata={
            "help": "workers that read (get, utxo, outpoint)",
            "unit": "workers",
            "reason": _WORKERS_REASON,
            "live": True,
        },
    )
    write: Workers = field(
        default=1,
        metadata={
            "help": "workers that write (accept, create, spend, and the like)",
            "unit": "workers",
            "reason": _WORKERS_REASON,
            "live": True,
        },
    )
    children: Workers = field(
        default=1,
        metadata={
            "help": "workers for child records and counters",
            "unit": "workers",
            "reason": _WORKERS_REASON,
            "live": True,
        },
    )

    @property
    def total(self) -> int:
        return self.read + self.write + self.children


@dataclass(frozen=True)
class LogSettings:
    """What is written to standard error, and how."""

    level: Literal["debug", "info", "warning", "error"] = field(
        default="info", metadata={"help": "the least of what is logged: debug, info, warning or error", "live": True}
    )
    format: Literal["text", "json"] = field(
        default="text", metadata={"help": "a line of the log: text for people, json for programs", "live": True}
    )


@dataclass(frozen=True)
class Settings:
    """Everything that can be set about the daemon: each with its help, its unit, the reason of its range, and whether a
    reload changes it while the daemon runs."""

    store: str = field(
        default_factory=_default_store,
        metadata={"help": "where the UTXO set is: lmdb:///directory, aerospike://host/namespace, null: (to measure)"},
    )
    listen: tuple[str, ...] = field(default=(), metadata={"help": "addresses for submitters, ipc:// or tcp://"})
    state: str = field(
        default_factory=_default_state,
        metadata={"help": "directory for what outlives the daemon (the list of what is in doubt), and its own socket"},
    )
    metrics: str = field(
        default="", metadata={"help": "HOST:PORT that figures, health and the page are served at; none where empty"}
    )
    receipts_bytes: Annotated[int, Interval(ge=0, le=1 << 36)] = field(
        default=1 << 26,
        metadata={
            "help": "size of the receipts kept in `state`, for utxod explain; 0: none",
            "unit": "bytes",
            "reason": "of a request some 30 to 100 bytes are kept; the most is more than anybody searches in one go",
        },
    )
    log: LogSettings = field(default_factory=LogSettings)
    workers: WorkerCounts = field(default_factory=WorkerCounts)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    block_height_retention: Annotated[int, Interval(ge=0, le=10_000_000)] = field(
        default=288,
        metadata={
            "help": "blocks after which a spent transaction may be deleted",
            "unit": "blocks",
            "reason": "the most is 190 years: a height with this added is still one, of 32 bits",
            "live": True,
        },
    )
    drain_seconds: Patience = field(
        default=10.0,
        metadata={
            "help": "how long shutting down may take",
            "unit": "seconds",
            "reason": PATIENCE_REASON,
            "live": True,
        },
    )


def numbers(settings: Any, prefix: str = "") -> Iterator[tuple[str, int | float]]:
    """Key and value of every setting that is a number."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            yield from numbers(value, f"{prefix}{each.name}.")
        elif type(value) in (int, float):
            yield prefix + each.name, value
