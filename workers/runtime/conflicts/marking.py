"""A transaction is marked as conflicting, or not any more, on every record that goes by it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from protocol.wire import Error
from store import Read, RuleCall, Status
from store.layout import child_key
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.children.missing import as_child_error
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import read_rule_answer
from workers.runtime.store_errors import error_of_record, error_of_unreadable


class Family(NamedTuple):
    """The child records of a master. height: that the rule is called for."""

    child_count: int
    height: int


def mark_children(context: DispatchContext, families: Mapping[bytes, Family]) -> dict[bytes, Error]:
    """All child records are marked as their master is: as it is now, and once more where that has changed meanwhile. So
    of opposite calls, in whatever order their steps come, the last one to reach the master ends on every record.

    families: by txid. Returns what went wrong, by txid; a child that is missing is a fault. Raises StoreError."""
    errors: dict[bytes, Error] = {}
    pending = {txid: family for txid, family in families.items() if family.child_count}
    flags = _read_masters(context, pending, errors)
    while flags:
        _write_children(context, pending, flags, errors)
        now = _read_masters(context, [txid for txid in flags if txid not in errors], errors)
        flags = {txid: flag for txid, flag in now.items() if flag is not flags[txid]}
    return errors


def _read_masters(context: DispatchContext, txids: Iterable[bytes], errors: dict[bytes, Error]) -> dict[bytes, bool]:
    """Those that can be read."""
    reads = [Read(txid, ("conflicting",)) for txid in txids]
    flags: dict[bytes, bool] = {}
    for read, result in zip(reads, context.operate(reads), strict=True):
        if result.status is not Status.OK:
            errors[read.key] = error_of_record(result, "master record")
        elif type(result.value) is not dict or type(result.value.get("conflicting", False)) is not bool:
            errors[read.key] = error_of_unreadable("master record", "it does not tell whether it is conflicting")
        else:
            flags[read.key] = result.value.get("conflicting", False)
    return flags


def _write_children(
    context: DispatchContext, families: Mapping[bytes, Family], flags: Mapping[bytes, bool], errors: dict[bytes, Error]
) -> None:
    places = [(txid, child) for txid in flags for child in range(1, families[txid].child_count + 1)]
    calls = [
        RuleCall(child_key(txid, child), "setConflicting", (flags[txid], families[txid].height, context.retention))
        for txid, child in places
    ]
    for (txid, child), call, result in zip(places, calls, context.operate(calls), strict=True):
        answer = read_rule_answer(result, f"child record {child}")
        if answer.error is not None:
            errors.setdefault(txid, as_child_error(answer.error, child))
        else:
            owe_follow_ups(context, call.key, answer, families[txid].height)
