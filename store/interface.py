"""The interface of every store: what is read from or written to a UTXO set goes through `Store.batch_operate`.

A record operation is a read of bins, a write of bins, a removal, or a call of a rule (store/rules/utxo.lua); each is on
one record. There is one result per operation, in their order. An operation that fails leaves the others unharmed; where
the batch as a whole fails, StoreError says whether any of it may have been written.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum, StrEnum
from typing import Any, Final, Protocol

from msgspec import Struct

from .layout import KEY_SIZES, Partial
from .transaction import Output, Transaction

INVALID_KEY: Final = f"a key has {' or '.join(map(str, KEY_SIZES))} bytes"

Value = None | bool | int | float | str | bytes | list[Any] | dict[Any, Any]


class Mode(Enum):
    """What a write expects: no record (CREATE), a record (UPDATE), or either (UPSERT)."""

    CREATE = 1
    UPDATE = 2
    UPSERT = 3


# Operations and results are made by the hundred for each dispatch: msgspec makes one in a third of the time that a
# dataclass takes. They are part of no cycle: the collector need not know them.
class Read(Struct, gc=False):
    """key: of the record, as for the others. bins: the names to read; None reads them all."""

    key: bytes
    bins: Sequence[str] | None = None


class Write(Struct, gc=False):
    """bins: a bin written as None is removed, one that is not named stays. condition: these bins have these values now
    (None: the bin does not exist). ttl: seconds until the record is gone; None leaves it as it is. group: see
    RuleCall."""

    key: bytes
    bins: Mapping[str, Value]
    mode: Mode
    condition: Mapping[str, Value] | None = None
    ttl: int | None = None
    group: int | None = None


class Remove(Struct, gc=False):
    """condition: as a write's. group: see RuleCall."""

    key: bytes
    condition: Mapping[str, Value] | None = None
    group: int | None = None


class RuleCall(Struct, gc=False):
    """function: a rule of utxo.lua. args: those after the record, in the rule's order. group: operations of a batch
    that have the same number stand one after the other, and are all applied or none, in a store that is atomic: where
    one is not OK, or its rule refuses or has errors, what the others changed is put back; their results stay as they
    were. A read between them ends the group: those behind it are another one."""

    key: bytes
    function: str
    args: tuple[Value, ...]
    group: int | None = None


RecordOperation = Read | Write | Remove | RuleCall


def is_read_only(record_operations: Sequence[RecordOperation]) -> bool:
    """Whether none of these operations changes a record."""
    return {Read}.issuperset(map(type, record_operations))


def group_of(operation: RecordOperation) -> int | None:
    """The operation's group; None where it stands alone, as every read does."""
    return None if isinstance(operation, Read) else operation.group


class Status(StrEnum):
    """OVERLOADED: refused for now, because there is no room or too many ask for the record. UNAVAILABLE: no server that
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


class Result(Struct, gc=False):
    """value: of a read that is OK, a dict from bin to value, with the bins that exist; of a call that is OK, the map
    that the rule returned (a rule that refuses is OK here: its map's `status` says so). in_doubt: it may have been
    applied although it failed. message: why, where it is not OK. key: of the record, so that it can be told whose
    result is missing where there are too few; None where every result is the same."""

    status: Status
    value: Any = None
    in_doubt: bool = False
    message: str = ""
    key: bytes | None = None


class ErrorKind(Enum):
    """Why a store cannot be opened, as far as there is a remedy for it; the message says it to people.

    NO_SET: there is no set yet, and it was not to be made. SETTINGS_LOST: there are records, but no settings.
    UTXO_BATCH_SIZE_DIFFERS, GENESIS_HEIGHT_DIFFERS: the set was made with another one than the URL names.
    UNKNOWN_LAYOUT: another version of the program made the set. OLD_LAYOUT: an older one did, and the set can be
    converted. UNREACHABLE: no server answers.
    NO_ALTERNATE_ADDRESSES: the alternate addresses that the URL asks for do not serve. NO_NAMESPACE: the servers have
    no namespace of that name. RULES_FORBIDDEN: the user may not register the rules. OTHER: anything else."""

    NO_SET = 1
    SETTINGS_LOST = 2
    UTXO_BATCH_SIZE_DIFFERS = 3
    GENESIS_HEIGHT_DIFFERS = 4
    UNKNOWN_LAYOUT = 5
    UNREACHABLE = 6
    NO_ALTERNATE_ADDRESSES = 7
    NO_NAMESPACE = 8
    RULES_FORBIDDEN = 9
    OLD_LAYOUT = 10
    OTHER = 11


class StoreError(Exception):
    """The whole batch failed, or the store cannot be opened.

    in_doubt: False where nothing of the batch was or will be written. status: OVERLOADED or UNAVAILABLE where that is
    why. kind: which remedy there is."""

    def __init__(
        self, message: str, *, in_doubt: bool, status: Status = Status.ERROR, kind: ErrorKind = ErrorKind.OTHER
    ) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt
        self.status = status
        self.kind = kind


@contextmanager
def errors_named(subject: object) -> Iterator[None]:
    """A StoreError raised within begins with the name of what it is about: a set's directory, or its URL."""
    try:
        yield
    except StoreError as error:
        error.args = (f"{subject}: {error}",)
        raise


class BlobStore(Protocol):
    """Raw transactions that are too large for a record, by txid (32 bytes, wire order). What cannot be read or written
    is an OSError, and so is a blob that is missing or damaged where it is read."""

    def put_new(self, source: Transaction | Partial) -> bool:
        """Keep a transaction in the format it came in, or some of its outputs, where nothing of it is kept yet. False
        where something is: that stays as it is, even if it is damaged."""
        ...

    def replace(self, source: Transaction | Partial) -> None:
        """As put_new, and in place of what is kept, unless that is the same; but one that seems whole is replaced by a
        whole one only. For a caller who knows that this is what was created."""
        ...

    def has_whole(self, txid: bytes) -> bool:
        """Whether a blob is kept that seems to be a whole transaction; only its header is looked at."""
        ...

    def get(self, txid: bytes) -> bytes | None:
        """The raw transaction as it was put; None where only some of its outputs were."""
        ...

    def output(self, txid: bytes, vout: int) -> Output | None:
        """One output, without reading the others; None where the blob has no such output."""
        ...

    def delete(self, txid: bytes) -> bool:
        """Returns whether there was a blob."""
        ...


class Store(Protocol):
    """utxo_batch_size, genesis_height: fixed for the life of a set (set_settings.py). blobs: where large transactions
    are kept. is_atomic: whether a batch that writes is applied as a whole or not at all, with no other one between its
    operations."""

    @property
    def utxo_batch_size(self) -> int: ...

    @property
    def genesis_height(self) -> int: ...

    @property
    def blobs(self) -> BlobStore: ...

    @property
    def is_atomic(self) -> bool: ...

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        """Execute the operations, those on one key in their order. budget: seconds left for it. Raises StoreError."""
        ...

    def close(self) -> None: ...
