"""Keeps a transaction from coming into the set while its spends are given back, in a store without groups.

Where there is none, a record with the one bin `abandoned` stands at its key. It goes by itself, once no step of an
`accept` that began before it can still land: after the execution limit, and the time that the store had for its last
call. (So all daemons on a set should have like limits.) Whoever asks again makes it stand longer.

A transaction that is there and conflicting is locked instead, so that it is not pruned, and then created anew. Its
master alone: the outputs of a conflicting one are not spent anyway. One that was locked before stays so.
"""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Mode, Read, Result, RuleCall, Status, Write
from store.layout import ABANDONED
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import read_rule_answer
from workers.runtime.store_errors import error_of_record, error_of_unreadable

_MARGIN_SECONDS: Final = 2  # a time to live counts in whole seconds, and servers' clocks differ a little
# The lock's caller knows none: the rule counts from the transaction's own.
_NO_HEIGHT: Final = 0
# Of one that was found, and has gone since: who asks again finds that.
_EXISTS: Final = Error(codes.SPENDER_EXISTS, NO, "the spending transaction is in the set, and not conflicting")


class Barrier:
    """refused: why a transaction may not be abandoned, by its txid."""

    def __init__(self, context: DispatchContext, txids: Iterable[bytes]) -> None:
        """Bars each, or refuses it. Raises StoreError."""
        self._context = context
        self.refused: dict[bytes, Error] = {}
        self._locked: list[bytes] = []
        self._lock(self._bar(list(dict.fromkeys(txids))))

    def _bar(self, txids: Sequence[bytes]) -> list[bytes]:
        """Those that there is a transaction of."""
        seconds = ceil(self._context.landing_seconds) + _MARGIN_SECONDS
        # Every record of a transaction has the bin txID: what is there without it is such a record, which stays longer.
        writes = [Write(txid, {ABANDONED: True}, Mode.UPSERT, {"txID": None}, seconds) for txid in txids]
        there = []
        for txid, result in zip(txids, self._context.operate(writes), strict=True):
            if result.status is Status.CONDITION_FALSE:
                there.append(txid)
            elif result.status is not Status.OK:
                self.refused[txid] = error_of_record(result, "what bars the creation")
        return there

    def _lock(self, txids: Sequence[bytes]) -> None:
        """Those that are conflicting, also once they are locked; the others are refused."""
        conflicting = self._refuse_unless_conflicting(txids)
        unlocked = [txid for txid, bins in conflicting.items() if not bins.get("locked")]
        for txid, error in zip(unlocked, self._set_locked(unlocked, True), strict=True):
            if error is None:
                self._locked.append(txid)
            else:
                self.refused[txid] = _EXISTS if error.code == codes.TX_NOT_FOUND else error
        self._refuse_unless_conflicting([txid for txid in conflicting if txid not in self.refused])

    def _refuse_unless_conflicting(self, txids: Sequence[bytes]) -> dict[bytes, dict[str, object]]:
        results = self._context.try_operate([Read(txid, ("conflicting", "locked")) for txid in txids])
        found: dict[bytes, dict[str, object]] = {}
        for txid, result in zip(txids, results, strict=True):
            error = refusal_of_spender(result)
            if error is None:
                found[txid] = result.value
            else:
                self.refused[txid] = error
        return found

    def unlock(self) -> None:
        """At the end, whatever came of it."""
        self._set_locked(self._locked, False)

    def _set_locked(self, txids: Sequence[bytes], value: bool) -> list[Error | None]:
        """Why each was not done."""
        retention = self._context.retention
        calls = [RuleCall(txid, "setLocked", (value, _NO_HEIGHT, retention)) for txid in txids]
        errors = []
        for txid, result in zip(txids, self._context.try_operate(calls), strict=True):
            answer = read_rule_answer(result, "spender")
            if answer.error is None:
                owe_follow_ups(self._context, txid, answer, _NO_HEIGHT)
            errors.append(answer.error)
        return errors


def refusal_of_spender(result: Result) -> Error | None:
    """Why the spends of a transaction that was found in the set are not given back. result: of reading
    `conflicting`."""
    if result.status not in (Status.OK, Status.NOT_FOUND):
        return error_of_record(result, "spender")
    if result.status is Status.OK and type(result.value) is not dict:
        return error_of_unreadable("spender", "it does not tell whether it is conflicting")
    if result.status is Status.OK and result.value.get("conflicting"):
        return None
    return _EXISTS
