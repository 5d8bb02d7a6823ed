"""A UTXO set whose records are changed one at a time, each by one atomic step: as a cluster does it that knows no
transaction over several records.

A step is one record of a batch: a read, a write, a removal, or a call of a rule, which is the rule's own text. It is a
function of what the record holds, and says what it holds then: nothing is changed in place.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Write
from store.interface import group_of
from store.rules import rules_source
from tests.lua import LuaError, Rules

Bins = Mapping[str, Any]


class Steps:
    """replace: pairs of a text of the rules and what stands there in its place, to plant a bug."""

    def __init__(self, *replace: tuple[str, str]) -> None:
        source = rules_source().decode()
        for text, other in replace:
            if source.count(text) != 1:
                raise ValueError(f"stands {source.count(text)} times in the rules: {text}")
            source = source.replace(text, other)
        self._rules = Rules(source.encode())

    def take(self, record: RecordOperation, bins: Bins | None) -> tuple[Result, Bins | None]:
        """The step's result, and what the record holds then. bins: what it holds now, None where there is none."""
        if isinstance(record, RuleCall):
            result, after = self._call(record, bins)
        elif isinstance(record, Write):
            result, after = _write(record, bins)
        elif isinstance(record, Remove):
            result, after = _remove(record, bins)
        else:
            result, after = _read(record, bins), bins
        result.key = record.key
        return result, after

    def take_whole(
        self, records: Sequence[RecordOperation], held: Mapping[bytes, Bins | None]
    ) -> tuple[list[Result], dict[bytes, Bins | None]]:
        """All of a batch at once, as a store does that is atomic: what a group has changed is put back where not all of
        it could be done. held: what the records hold now."""
        results: list[Result] = []
        after = dict(held)
        for group, run in groupby(records, group_of):
            before, own = dict(after), []
            for record in run:
                result, after[record.key] = self.take(record, after[record.key])
                own.append(result)
            if group is not None and not all(map(_is_applied, own)):
                after = before
            results += own
        return results, after

    def _call(self, call: RuleCall, bins: Bins | None) -> tuple[Result, Bins | None]:
        try:
            value, saved = self._rules.call(call.function, call.args, None if bins is None else dict(bins))
        except (LuaError, TypeError, ValueError, OverflowError) as error:
            return Result(Status.ERROR, message=f"{call.function}: {error}"), bins
        return Result(Status.OK, value), _changed(bins, saved) if saved else bins


def _is_applied(result: Result) -> bool:
    return result.status is Status.OK and (result.value is None or result.value["status"] == "OK")


def _read(read: Read, bins: Bins | None) -> Result:
    if bins is None:
        return Result(Status.NOT_FOUND)
    names = bins if read.bins is None else [name for name in read.bins if name in bins]
    return Result(Status.OK, {name: bins[name] for name in names})


def _write(write: Write, bins: Bins | None) -> tuple[Result, Bins | None]:
    if bins is None and write.mode is Mode.UPDATE:
        return Result(Status.NOT_FOUND), bins
    if bins is not None and write.mode is Mode.CREATE:
        return Result(Status.EXISTS), bins
    if not _holds(bins, write.condition):
        return Result(Status.CONDITION_FALSE), bins
    return Result(Status.OK), _changed(bins, write.bins)


def _remove(remove: Remove, bins: Bins | None) -> tuple[Result, Bins | None]:
    if bins is None:
        return Result(Status.NOT_FOUND), bins
    if not _holds(bins, remove.condition):
        return Result(Status.CONDITION_FALSE), bins
    return Result(Status.OK), None


def _holds(bins: Bins | None, condition: Bins | None) -> bool:
    return all((bins or {}).get(name) == value for name, value in (condition or {}).items())


def _changed(bins: Bins | None, changes: Bins) -> Bins:
    after = {**(bins or {}), **changes}
    return {name: value for name, value in after.items() if value is not None}
