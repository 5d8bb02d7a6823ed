"""The seam: everything that is read from or written to a UTXO set goes through `Store.batch_operate`.

A record of the batch is a read of bins, a write of bins, a removal, or a call of a rule (store/rules/utxo.lua). There
is one result per record, in their order. A record that fails leaves the others unharmed; where the batch as a whole
fails, StoreError says whether any of it may have been written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Protocol

from .blobs import BlobStore

Value = None | bool | int | float | str | bytes | list[Any] | dict[Any, Any]


class Mode(Enum):
    """What a write expects: no record (CREATE), a record (UPDATE), or either (UPSERT)."""

    CREATE = 1
    UPDATE = 2
    UPSERT = 3


@dataclass(slots=True)
class Read:
    """bins: the names to read; None reads them all."""

    key: bytes
    bins: Sequence[str] | None = None


@dataclass(slots=True)
class Write:
    """bins: a bin written as None is removed, one that is not named stays. condition: these bins have these values now
    (None: the bin does not exist). ttl: seconds until the record is gone; None leaves it as it is. group: see
    RuleCall."""

    key: bytes
    bins: Mapping[str, Value]
    mode: Mode
    condition: Mapping[str, Value] | None = None
    ttl: int | None = None
    group: int | None = None


@dataclass(slots=True)
class Remove:
    """condition: as a write's. group: see RuleCall."""

    key: bytes
    condition: Mapping[str, Value] | None = None
    group: int | None = None


@dataclass(slots=True)
class RuleCall:
    """function: a rule of utxo.lua. args: those after the record, in the rule's order. group: records of a batch that
    bear the same number stand one after the other, and are all applied or none, in a store that is atomic: where one is
    not OK, or its rule refuses or has errors, what the others changed is put back; their results are as they came."""

    key: bytes
    function: str
    args: tuple[Value, ...]
    group: int | None = None


RecordOperation = Read | Write | Remove | RuleCall


class Status(StrEnum):
    """OVERLOADED: refused for now, for want of room or because too many ask for the record. UNAVAILABLE: nobody who
    could do it is there now. In both cases nothing was done. TIMEOUT: no answer came in the time that there was."""

    OK = "OK"
    NOT_FOUND = "NOT_FOUND"
    EXISTS = "EXISTS"
    CONDITION_FALSE = "CONDITION_FALSE"
    TOO_BIG = "TOO_BIG"
    OVERLOADED = "OVERLOADED"
    UNAVAILABLE = "UNAVAILABLE"
    TIMEOUT = "TIMEOUT"
    ERROR = "ERROR"


@dataclass(slots=True)
class Result:
    """value: of a read that is OK, a dict from bin to value, with the bins that exist; of a call that is OK, the map
    that the rule returned (a rule that refuses is OK here: its map's `status` says so). in_doubt: it may have been
    applied although it failed. message: why, where it is not OK. key: of the record, so that a caller can tell whose
    result is missing where there are too few; None where every result is the same."""

    status: Status
    value: Any = None
    in_doubt: bool = False
    message: str = ""
    key: bytes | None = None


class StoreError(Exception):
    """The whole batch failed. in_doubt: False where nothing of it was or will be written. status: OVERLOADED or
    UNAVAILABLE where that is why."""

    def __init__(self, message: str, *, in_doubt: bool, status: Status = Status.ERROR) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt
        self.status = status


class Store(Protocol):
    """utxo_batch_size, genesis_height: fixed for the life of a set (set_settings.py). blobs: where large transactions
    lie. is_atomic: whether a batch of writes is applied as a whole or not at all, and no other one beside it."""

    @property
    def utxo_batch_size(self) -> int: ...

    @property
    def genesis_height(self) -> int: ...

    @property
    def blobs(self) -> BlobStore: ...

    @property
    def is_atomic(self) -> bool: ...

    def batch_operate(self, records: Sequence[RecordOperation], budget: float) -> list[Result]:
        """Execute the records, those of one key in their order. budget: seconds left for it. Raises StoreError."""
        ...

    def close(self) -> None: ...
