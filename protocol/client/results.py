"""Results and outcomes: what a caller gets back from the client."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from .. import codes
from ..wire import Error
from .call import REPORT_CALL, Call
from .errors import UtxodError, to_exception

T = TypeVar("T")


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


class ResultReader(NamedTuple, Generic[T]):
    """Reads what the daemon answers to one operation. operation: its name on the wire. convert: makes a result of what
    came over the wire; None: that is the result."""

    operation: str
    convert: Callable[[Any], T] | None = None

    def read(self, value: Any) -> T:
        """Raises Fault INTERNAL ("unknown": the daemon said OK) where the value is not what the operation gives."""
        if self.convert is None:
            return value  # type: ignore[no-any-return]
        try:
            return self.convert(value)
        except (TypeError, ValueError):
            message = f"{self.operation}: the result is not what the protocol says"
            raise to_exception(Error(codes.INTERNAL, codes.UNKNOWN, message)) from None

    def read_single(self, call: Call) -> T:
        """The result of a call of one item. Raises its error."""
        if call.errors:
            raise to_exception(call.errors[0])
        return self.read(call.results[0])

    def read_outcomes(self, call: Call, unsent: Mapping[int, Error]) -> list[Outcome[T]]:
        """One outcome per item, in order. unsent: the errors, by index, of items that never became part of the call."""
        values, errors = call.results, call.errors
        if not errors and not unsent:
            if self.convert is None:
                return [Outcome(value) for value in values]
            try:
                return [Outcome(value) for value in map(self.convert, values)]
            except (TypeError, ValueError):
                pass  # found again below, for the items it concerns alone
        outcomes = [self._outcome(value, errors.get(index)) for index, value in enumerate(values)]
        for index in sorted(unsent):
            outcomes.insert(index, Outcome(None, to_exception(unsent[index])))
        return outcomes

    def _outcome(self, value: Any, error: Error | None) -> Outcome[Any]:
        if error is not None:
            return Outcome(None, to_exception(error))
        try:
            return Outcome(self.read(value))
        except UtxodError as unreadable:
            return Outcome(None, unreadable.with_traceback(None))


def _outpoint(value: Any) -> Outpoint:
    satoshis, locking_script = value
    return Outpoint(satoshis, locking_script)


def _incremented(value: Any) -> Incremented:
    signal, child_count = value
    return Incremented(signal, child_count)


GET: Final = ResultReader[dict[str, Any]]("get")
OUTPOINT: Final = ResultReader("outpoint", _outpoint)
CREATE: Final = ResultReader[dict[str, Any]]("create")
SPEND: Final = ResultReader[bool]("spend")
UNSPEND: Final = ResultReader[bool]("unspend")
INCREMENT: Final = ResultReader("increment", _incremented)
SET_DAH: Final = ResultReader[bool]("set_dah")
SET_LOCKED: Final = ResultReader[int]("set_locked")
DAEMON_REPORT: Final = ResultReader[dict[str, Any]](REPORT_CALL)


def all_or_raise(outcomes: Sequence[Outcome[T]]) -> list[T]:
    """The results of one transaction's items. Where an item failed, raises the error that says most: one that leaves it
    unknown whether something stands before any other, and an item's own before one that only follows from another's."""
    errors = [(index, outcome.error) for index, outcome in enumerate(outcomes) if outcome.error is not None]
    if errors:
        raise min(errors, key=_weight)[1]
    return [outcome.result for outcome in outcomes]


def _weight(failed: tuple[int, UtxodError]) -> tuple[bool, bool, int]:
    index, error = failed
    return error.executed == codes.NO, error.details.get("because", index) != index, index
