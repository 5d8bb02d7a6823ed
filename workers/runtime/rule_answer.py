"""What a rule of the UTXO set answered. The map that it returns: store/rules/utxo.lua."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Result, Status
from store.layout import parse_spending_data

from .store_errors import error_of_record, error_of_unreadable


class RuleAnswer(NamedTuple):
    """error: the refusal of the whole call. child_count: None where the rule gave none.

    Of a call for several spends, by their places in the call: errors; applied: those that this call changed, None where
    the rule gave none; lives: of those outputs whose life is not 0; held: those that were refused though the asker has
    their output.

    relied_on: others rely on the spend that was to be released. state_seq: of a child record. lock_seq: of a master."""

    error: Error | None
    signal: str | None = None
    child_count: int | None = None
    errors: Mapping[int, Error] = {}
    applied: frozenset[int] | None = None
    lives: Mapping[int, int] = {}
    held: Sequence[int] = ()
    relied_on: bool = False
    state_seq: int | None = None
    lock_seq: int | None = None


class _Malformed(Exception):
    """The store returned something that a rule's answer can't be."""


def read_rule_answer(result: Result, what: str) -> RuleAnswer:
    """A call that failed is an answer whose `error` says so; so is one that can't be read. what: the record that the
    rule was called on, in words."""
    if result.status is not Status.OK:
        return RuleAnswer(error_of_record(result, what))
    try:
        return _parse(result.value)
    except (_Malformed, KeyError, TypeError, ValueError, AttributeError) as error:
        return RuleAnswer(error_of_unreadable(what, error))


def _parse(value: Any) -> RuleAnswer:
    status, signal, applied = value.get("status"), value.get("signal"), value.get("applied")
    if status not in ("OK", "ERROR"):
        raise _Malformed(f"status {status!r}")
    if not isinstance(signal, str | None):
        raise _Malformed("signal")
    # The rule's `mine` is our `held`; the rule's `held` is our `relied_on`.
    lives, held = value.get("lives") or {}, value.get("mine") or []
    if not isinstance(applied, list | None) or type(lives) is not dict or type(held) is not list:
        raise _Malformed("applied, lives or mine")
    errors = {place: _parse_error(error) for place, error in value["errors"].items()} if value.get("errors") else {}
    return RuleAnswer(
        _parse_error(value) if status == "ERROR" and not errors else None,
        signal,
        _parse_number(value, "childCount"),
        errors,
        None if applied is None else frozenset(applied),
        lives,
        held,
        value.get("held") is True,
        _parse_number(value, "stateSeq"),
        _parse_number(value, "lockSeq"),
    )


def _parse_number(value: Any, name: str) -> int | None:
    number = value.get(name)
    if not isinstance(number, int | None):
        raise _Malformed(name)
    return number


def _parse_error(value: Any) -> Error:
    code, message = value["errorCode"], value.get("message", "")
    if code not in codes.REJECTIONS or type(message) is not str:
        raise _Malformed(f"errorCode {code!r}")
    details: dict[str, Any] = {}
    if value.get("spendingData"):
        spender = parse_spending_data(value["spendingData"])
        details = {"spending_txid": spender.txid, "spending_vin": spender.vin}
    return Error(code, NO, message, 0, details)
