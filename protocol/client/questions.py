"""The operations, as the client asks them: each makes a question of its items, and reads what is answered."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from .. import codes
from ..wire import ONE_TRANSACTION, Error
from .call import REPORT_CALL, Call
from .errors import UtxodError, to_exception
from .items import encode_item, encode_items
from .results import Accepted, Conflict, Incremented, Outcome, Outpoint, Utxo

T = TypeVar("T")


class Question(Generic[T]):
    """A call, and how its answer is read. One that has nothing to ask is settled. read: makes what the caller gets, or
    raises, of a settled call."""

    __slots__ = ("call", "read")

    def __init__(self, call: Call, read: Callable[[Call], T]) -> None:
        self.call = call
        self.read = read


class Operation(NamedTuple, Generic[T]):
    """name: on the wire. convert: makes a result of what came over the wire; None: that is the result."""

    name: str
    convert: Callable[[Any], T] | None = None

    def single(self, item: Any) -> Question[T]:
        """Raises BadRequest ("no") where the item holds what MessagePack cannot express."""
        return Question(Call(self.name, encode_item(item), 1), self.read_single)

    def many(self, items: Iterable[Any]) -> Question[list[Outcome[T]]]:
        """One outcome per item, in order."""
        return self._several(list(items), 0)

    def together(self, items: Iterable[Any]) -> Question[list[T]]:
        """The items are the spends of one transaction."""
        question = self._several(list(items), ONE_TRANSACTION)
        return Question(question.call, lambda call: all_or_raise(question.read(call)))

    def _several(self, items: list[Any], flags: int) -> Question[list[Outcome[T]]]:
        payload, unsent = encode_items(items)
        call = Call(self.name, payload, len(items) - len(unsent), flags)
        if not call.count or (flags and unsent):
            call.settle(())
        return Question(call, lambda settled: self._read_outcomes(settled, unsent))

    def _read(self, value: Any, call: Call, index: int) -> T:
        """Raises Fault INTERNAL ("unknown": the daemon said OK) where the value is not what the operation gives."""
        if self.convert is None:
            return value  # type: ignore[no-any-return]
        try:
            return self.convert(value)
        except _UNREADABLE:
            message = f"{self.name}: the result is not what the protocol says"
            raise to_exception(Error(codes.INTERNAL, codes.UNKNOWN, message), call.id_of(index)) from None

    def read_single(self, call: Call) -> T:
        if call.errors:
            raise to_exception(call.errors[0], call.id_of(0))
        return self._read(call.results[0], call, 0)

    def _read_outcomes(self, call: Call, unsent: Mapping[int, Error]) -> list[Outcome[T]]:
        """unsent: the errors, by index, of items that never became part of the call."""
        values, errors = call.results, call.errors
        if not errors and not unsent:
            if self.convert is None:
                return [Outcome(value) for value in values]
            try:
                return [Outcome(value) for value in map(self.convert, values)]
            except _UNREADABLE:
                pass  # found again below, for the items it concerns alone
        outcomes = [self._outcome(value, errors.get(index), call, index) for index, value in enumerate(values)]
        for index in sorted(unsent):
            outcomes.insert(index, Outcome(None, to_exception(unsent[index])))
        return outcomes

    def _outcome(self, value: Any, error: Error | None, call: Call, index: int) -> Outcome[Any]:
        if error is not None:
            return Outcome(None, to_exception(error, call.id_of(index)))
        try:
            return Outcome(self._read(value, call, index))
        except UtxodError as unreadable:
            return Outcome(None, unreadable.with_traceback(None))


_UNREADABLE: Final = (TypeError, ValueError, KeyError, AttributeError)

ABANDON: Final = Operation[list[bool]]("abandon")
ACCEPT: Final = Operation("accept", Accepted.read)
CREATE: Final = Operation[dict[str, Any]]("create")
FREEZE: Final = Operation[bool]("freeze")
GET: Final = Operation[dict[str, Any]]("get")
INCREMENT: Final = Operation("increment", Incremented.read)
MARK_LONGEST_CHAIN: Final = Operation[bool]("mark_longest_chain")
OUTPOINT: Final = Operation("outpoint", Outpoint.read)
PRESERVE_UNTIL: Final = Operation[bool]("preserve_until")
REASSIGN: Final = Operation[bytes]("reassign")
SET_CONFLICTING: Final = Operation("set_conflicting", Conflict.read)
SET_DAH: Final = Operation[bool]("set_dah")
SET_LOCKED: Final = Operation[int]("set_locked")
SET_MINED: Final = Operation[list[int]]("set_mined")
SPEND: Final = Operation[bool]("spend")
UNFREEZE: Final = Operation[bool]("unfreeze")
UNSPEND: Final = Operation[bool]("unspend")
UTXO: Final = Operation("utxo", Utxo.read)


def report() -> Question[dict[str, Any]]:
    """The daemon's, of itself."""
    operation = Operation[dict[str, Any]](REPORT_CALL)
    return Question(Call(operation.name, b"", 1), operation.read_single)


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
