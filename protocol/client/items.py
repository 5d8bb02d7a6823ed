"""Items, results and outcomes: what a caller hands to the client, and what it gets back.

An item is a tuple in the order in which it goes over the wire (docs/protocol.md), so encoding one costs nothing beyond
MessagePack, and a plain tuple of the same fields will do in its place. Fields are not checked here: the daemon does
that, and answers a bad item alone with BAD_REQUEST. txids and hashes are 32 bytes in wire order everywhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgpack

from .. import codes
from ..mined_block import MinedBlock
from ..operations import CREATE_COINBASE, CREATE_CONFLICTING, CREATE_LOCKED
from ..wire import Error
from .calls import STATUS, Call
from .errors import UtxodError, error_class

T = TypeVar("T")


class CreateItem(NamedTuple):
    """A transaction to be created; see `whole` and `partial`, which make one from arguments with names."""

    raw: bytes | None
    block_height: int
    mined: Sequence[MinedBlock | tuple[int, int, int]] = ()
    flags: int = 0
    known: tuple[bytes, Mapping[int, tuple[int, bytes]]] | None = None

    @classmethod
    def whole(
        cls,
        raw: bytes,
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        conflicting: bool = False,
        locked: bool = False,
    ) -> "CreateItem":
        """raw: the serialised transaction, standard or extended (BRC-30). block_height: the height it is judged at."""
        return cls(raw, block_height, mined, CREATE_CONFLICTING * conflicting | CREATE_LOCKED * locked)

    @classmethod
    def partial(
        cls,
        txid: bytes,
        outputs: Mapping[int, tuple[int, bytes]],
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        coinbase: bool = False,
        conflicting: bool = False,
        locked: bool = False,
    ) -> "CreateItem":
        """A transaction of which only some outputs are known. outputs: vout -> (satoshis, locking script)."""
        flags = CREATE_CONFLICTING * conflicting | CREATE_LOCKED * locked | CREATE_COINBASE * coinbase
        return cls(None, block_height, mined, flags, (txid, outputs))


class Spend(NamedTuple):
    """Output `vout` of `txid` is spent by input `vin` of `spending_txid`. utxo_hash: see `utxo_hash`. block_height: the
    height it is judged at. flags: SPEND_IGNORE_CONFLICTING | SPEND_IGNORE_LOCKED, or 0."""

    txid: bytes
    vout: int
    utxo_hash: bytes
    spending_txid: bytes
    vin: int
    block_height: int
    flags: int = 0


class Increment(NamedTuple):
    """delta: added to the number of fully spent child records of `txid`."""

    txid: bytes
    delta: int
    block_height: int


class SetDah(NamedTuple):
    """child_index: 0 for the master record. height: the delete-at-height, 0 removes it."""

    txid: bytes
    child_index: int
    height: int


class SetLocked(NamedTuple):
    txid: bytes
    value: bool


class Outpoint(NamedTuple):
    """An output: its value in satoshis, and its locking script."""

    satoshis: int
    locking_script: bytes


class Incremented(NamedTuple):
    """signal: DAHSET, DAHUNSET, or None where nothing follows. child_count: child records of the transaction."""

    signal: str | None
    child_count: int


class Outcome(Generic[T]):
    """What became of one item of a `*_many` call: `.result` where `.ok` (None otherwise), or else `.error`."""

    __slots__ = ("error", "result")

    def __init__(self, result: T, error: UtxodError | None = None) -> None:
        self.result = result
        self.error = error

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def code(self) -> str:
        """OK, or the error's code."""
        return codes.OK if self.error is None else self.error.code

    def __repr__(self) -> str:
        return f"Outcome({self.result!r})" if self.error is None else f"Outcome(error={self.error!r})"


class Operation(NamedTuple, Generic[T]):
    """An operation's name on the wire, and how a result is read (None: it is handed over as it came)."""

    name: str
    read: Callable[[Any], T] | None = None


def _outpoint(value: Any) -> Outpoint:
    satoshis, locking_script = value
    return Outpoint(satoshis, locking_script)


def _incremented(value: Any) -> Incremented:
    signal, child_count = value
    return Incremented(signal, child_count)


GET: Final = Operation[dict[str, Any]]("get")
OUTPOINT: Final = Operation("outpoint", _outpoint)
CREATE: Final = Operation[dict[str, Any]]("create")
SPEND: Final = Operation[bool]("spend")
ABANDON: Final = Operation[bool]("abandon")
INCREMENT: Final = Operation("increment", _incremented)
SET_DAH: Final = Operation[bool]("set_dah")
SET_LOCKED: Final = Operation[int]("set_locked")
REPORT: Final = Operation[dict[str, Any]](STATUS)


def to_exception(error: Error) -> UtxodError:
    """The exception that stands for an answer's error."""
    return error_class(error.code)(error)


def read_result(operation: Operation[T], value: Any) -> T:
    """Raises Fault INTERNAL ("unknown": the daemon said OK) where the result is not what the operation gives."""
    if operation.read is None:
        return value  # type: ignore[no-any-return]
    try:
        return operation.read(value)
    except (TypeError, ValueError):
        message = f"{operation.name}: the result is not what the protocol says"
        raise to_exception(Error(codes.INTERNAL, codes.UNKNOWN, message)) from None


def read_single(operation: Operation[T], call: Call) -> T:
    """The result of a call of one item. Raises its error."""
    if call.errors:
        raise to_exception(call.errors[0])
    return read_result(operation, call.results[0])


def read_outcomes(operation: Operation[T], call: Call, unsent: Mapping[int, Error]) -> list[Outcome[T]]:
    """One outcome per item, in order. unsent: the errors, by index, of items that never became part of the call."""
    values, errors = call.results, call.errors
    if not errors and not unsent:
        if operation.read is None:
            return [Outcome(value) for value in values]
        try:
            return [Outcome(value) for value in map(operation.read, values)]
        except (TypeError, ValueError):
            pass  # found again below, for the items it concerns alone
    outcomes = [_outcome(operation, value, errors.get(index)) for index, value in enumerate(values)]
    for index in sorted(unsent):
        outcomes.insert(index, Outcome(None, to_exception(unsent[index])))
    return outcomes


def _outcome(operation: Operation[T], value: Any, error: Error | None) -> Outcome[Any]:
    if error is not None:
        return Outcome(None, to_exception(error))
    try:
        return Outcome(read_result(operation, value))
    except UtxodError as unreadable:
        return Outcome(None, unreadable.with_traceback(None))


def all_or_refusal(outcomes: Sequence[Outcome[T]]) -> list[T]:
    """The results of one transaction's items. Raises what was refused: an error that leaves it unknown whether
    something stands before any other, and an item's own before one that only follows from another's."""
    errors = [(index, outcome.error) for index, outcome in enumerate(outcomes) if outcome.error is not None]
    if errors:
        raise min(errors, key=_weight)[1]
    return [outcome.result for outcome in outcomes]


def _weight(failed: tuple[int, UtxodError]) -> tuple[bool, bool, int]:
    index, error = failed
    return error.executed == codes.NO, error.details.get("because", index) != index, index


def encode_item(item: Any) -> bytes:
    """Raises BadRequest ("no") where an item holds what MessagePack cannot express."""
    try:
        packed: bytes = msgpack.packb(item)
    except Exception as error:
        message = f"the item cannot be encoded: {error}"
        raise to_exception(Error(codes.BAD_REQUEST, codes.NO, message)) from None
    return packed


def encode_items(items: Sequence[Any]) -> tuple[bytes | memoryview, dict[int, Error]]:
    """The bytes of the items that can be encoded, one after the other, and by index the errors of those that can't."""
    try:
        packed = msgpack.packb(items)
    except Exception:
        return _encode_one_by_one(items)
    # The array's own header is left away: items of several calls are put together under one.
    return memoryview(packed)[1 if len(items) < 16 else 3 if len(items) < 65_536 else 5 :], {}


def _encode_one_by_one(items: Sequence[Any]) -> tuple[bytes, dict[int, Error]]:
    packed: list[bytes] = []
    errors: dict[int, Error] = {}
    for index, item in enumerate(items):
        try:
            packed.append(encode_item(item))
        except UtxodError as error:
            errors[index] = Error(error.code, error.executed, error.message)
    return b"".join(packed), errors


def checked_timeout(seconds: float) -> float:
    """Raises ValueError where it is no bound."""
    if not 0 < seconds < math.inf:
        raise ValueError(f"timeout: {seconds!r} is not a number of seconds above 0")
    return seconds
