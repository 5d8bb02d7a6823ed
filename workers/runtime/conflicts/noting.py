"""Conflicting transactions are noted in their parents."""

from collections.abc import Iterable, Mapping

from protocol import codes
from protocol.codes import UNKNOWN
from protocol.wire import Error
from store import RuleCall
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import read_rule_answer


def note_conflicting(context: DispatchContext, parents: Mapping[bytes, Iterable[bytes]]) -> dict[bytes, Error]:
    """Each is noted in those of its parents that are in the set. parents: txids, by the txid of the one to be noted.
    Returns what is in doubt, by that; nothing else of the dispatch fails."""
    notes = [
        (txid, RuleCall(parent, "noteConflicting", (txid,)))
        for txid in parents
        for parent in dict.fromkeys(parents[txid])
    ]
    errors: dict[bytes, Error] = {}
    for (txid, _), result in zip(notes, context.try_operate([call for _, call in notes]), strict=True):
        error = read_rule_answer(result, "parent").error
        if error is not None and error.code != codes.TX_NOT_FOUND:
            errors[txid] = error._replace(executed=UNKNOWN)
    return errors
