"""What a rule of the UTXO set answered. The map that it returns: store/rules/utxo.lua."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, ValidationError, convert

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Result, Status
from store.layout import parse_spending_data

from .store_errors import error_of_record, error_of_unreadable

_OK: Final = Status.OK  # Python 3.11 looks a member up through Python code, a fifth of the time that an answer takes
_Place = Annotated[int, Meta(ge=0)]


class _Refusal(Struct, gc=False):
    """Why the rule refuses a call, or one of its spends."""

    errorCode: str
    message: str = ""
    spendingData: str | None = None

    def error(self) -> Error:
        """Raises ValueError."""
        if self.errorCode not in codes.REJECTIONS:
            raise ValueError(f"errorCode {self.errorCode!r}")
        details: dict[str, Any] = {}
        if self.spendingData:
            spender = parse_spending_data(self.spendingData)
            details = {"spending_txid": spender.txid, "spending_vin": spender.vin}
        return Error(self.errorCode, NO, self.message, 0, details)


class _Told(Struct, gc=False):
    """The rule's map, by its names; but for the refusal of a whole call, which has those of a _Refusal."""

    status: Literal["OK", "ERROR"]
    signal: str | None = None
    childCount: int | None = None
    errors: dict[_Place, _Refusal] | None = None
    applied: list[_Place] | None = None
    lives: dict[_Place, int] | None = None
    mine: list[_Place] | None = None
    held: bool = False
    stateSeq: int | None = None
    lockSeq: int | None = None
    blockIDs: list[_Place] | None = None


class RuleAnswer(Struct, gc=False):
    """error: the refusal of the whole call, or why it came to nothing. child_count: None where the rule gave none.

    Of a call for several spends, by their places in the call: errors; applied: those that this call changed, None where
    the rule gave none; lives: of those outputs whose life is not 0; held: those that were refused though the asker has
    their output. None stands for none of them.

    relied_on: others rely on the spend that was to be released. state_seq: of a child record. lock_seq, block_ids: of a
    master."""

    error: Error | None = None
    errors: Mapping[int, Error] | None = None
    signal: str | None = None
    child_count: int | None = None
    applied: Sequence[int] | None = None
    lives: Mapping[int, int] | None = None
    held: Sequence[int] | None = None
    relied_on: bool = False
    state_seq: int | None = None
    lock_seq: int | None = None
    block_ids: Sequence[int] | None = None


def failed(error: Error) -> RuleAnswer:
    """The answer of a call that came to nothing."""
    return RuleAnswer(error)


def read_rule_answer(result: Result, what: str) -> RuleAnswer:
    """A call that failed is an answer whose `error` says so; so is one that can't be read. what: the record that the
    rule was called on, in words."""
    if result.status is not _OK:
        return failed(error_of_record(result, what))
    error, errors = None, None
    try:
        told = convert(result.value, _Told)
        if told.errors:
            errors = {place: refusal.error() for place, refusal in told.errors.items()}
        elif told.status == "ERROR":
            error = convert(result.value, _Refusal).error()
    except (ValidationError, ValueError) as fault:
        return failed(error_of_unreadable(what, fault))
    return RuleAnswer(
        error,
        errors,
        told.signal,
        told.childCount,
        told.applied,
        told.lives,
        told.mine,
        told.held,
        told.stateSeq,
        told.lockSeq,
        told.blockIDs,
    )
