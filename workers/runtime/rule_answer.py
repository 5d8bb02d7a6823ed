"""What a rule of the UTXO set answered. The map that it returns: store/rules/utxo.lua."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, ValidationError, convert, field

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Result, Status
from store.layout import parse_spending_data

from .store_errors import error_of_record, error_of_unreadable

_Place = Annotated[int, Meta(ge=0)]


class _Refusal(Struct, gc=False):
    """Why the rule refuses a call, or one of its spends."""

    code: str = field(name="errorCode")
    message: str = ""
    spending_data: str | None = field(name="spendingData", default=None)

    def error(self) -> Error:
        """Raises ValueError."""
        if self.code not in codes.REJECTIONS:
            raise ValueError(f"errorCode {self.code!r}")
        details: dict[str, Any] = {}
        if self.spending_data:
            spender = parse_spending_data(self.spending_data)
            details = {"spending_txid": spender.txid, "spending_vin": spender.vin}
        return Error(self.code, NO, self.message, 0, details)


class RuleAnswer(Struct, gc=False):
    """The rule's map, by its names where it has others. error: the refusal of the whole call. child_count: None where
    the rule gave none.

    Of a call for several spends, by their places in the call: errors; applied: those that this call changed, None where
    the rule gave none; lives: of those outputs whose life is not 0; held: those that were refused though the asker has
    their output. None stands for none of them.

    relied_on: others rely on the spend that was to be released. state_seq: of a child record. lock_seq: of a master."""

    status: Literal["OK", "ERROR"]
    signal: str | None = None
    child_count: int | None = field(name="childCount", default=None)
    refusals: dict[_Place, _Refusal] | None = field(name="errors", default=None)
    applied: list[_Place] | None = None
    lives: dict[_Place, int] | None = None
    held: list[_Place] | None = field(name="mine", default=None)
    relied_on: bool = field(name="held", default=False)
    state_seq: int | None = field(name="stateSeq", default=None)
    lock_seq: int | None = field(name="lockSeq", default=None)
    # Not of the map: no rule knows these names.
    error: Error | None = field(name="-error", default=None)
    errors: Mapping[int, Error] | None = field(name="-errors", default=None)


def failed(error: Error) -> RuleAnswer:
    """The answer of a call that came to nothing."""
    return RuleAnswer("ERROR", error=error)


def read_rule_answer(result: Result, what: str) -> RuleAnswer:
    """A call that failed is an answer whose `error` says so; so is one that can't be read. what: the record that the
    rule was called on, in words."""
    if result.status is not Status.OK:
        return failed(error_of_record(result, what))
    try:
        answer = convert(result.value, RuleAnswer)
        if answer.refusals:
            answer.errors = {place: refusal.error() for place, refusal in answer.refusals.items()}
        elif answer.status == "ERROR":
            answer.error = convert(result.value, _Refusal).error()
    except (ValidationError, ValueError) as error:
        return failed(error_of_unreadable(what, error))
    return answer
