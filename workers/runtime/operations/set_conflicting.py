"""set_conflicting: a transaction is conflicting, or it is not any more, on all of its records.

Item [txid, value, height]; result [affected, spenders]. affected: array of [txid, vout], the outputs of its parents
that name it as their spender now; nil where its inputs are not known, as it was created in part. spenders: array of
distinct txids, of those who spend its outputs. Where it becomes conflicting it is noted in its parents, too, as far as
they are known.

The records are marked before they are read. A spend that comes after the mark is refused, so one that was done before
is read: nobody who spends from a conflicting transaction is missing from the answer. That is why the child records are
marked here and not in a follow-up: whoever spent from one of them after it was read, and before it was marked, would
be missing. Asked again it does the same again, and says what is true then.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from protocol.codes import UNKNOWN
from protocol.wire import Error
from store import RuleCall
from workers.runtime.children.follow_ups import owe_children_dah
from workers.runtime.conflicts.links import Links, read_links
from workers.runtime.conflicts.marking import Family, mark_children
from workers.runtime.conflicts.noting import note_conflicting
from workers.runtime.conflicts.stored_transaction import StoredTransaction, read_transactions
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, boolean_field, txid_field, uint_field
from workers.runtime.rule_calls import call_rules

SHAPE: Final = Shape(txid_field(), boolean_field("value"), uint_field("height"))


def run(context: DispatchContext) -> None:
    batch = context.batch
    items = batch.parse(tuple)
    stored, errors = read_transactions(context, [txid for txid, _, _ in items.values()])
    calls: dict[int, RuleCall] = {}
    for index, (txid, value, height) in items.items():
        if txid in errors:
            batch.fail(index, errors[txid])
        else:
            calls[index] = RuleCall(txid, "setConflicting", (value, height, context.retention))
    marked = {index: items[index] for index in call_rules(context, calls)}
    answers = _follow(context, list(marked.values()), stored)
    for index, (txid, _, _) in marked.items():
        answer = answers[txid]
        if isinstance(answer, Error):
            batch.fail(index, answer._replace(executed=UNKNOWN))  # its master is marked
        else:
            batch.complete(index, answer)


def _follow(
    context: DispatchContext, marked: Sequence[tuple[bytes, bool, int]], stored: Mapping[bytes, StoredTransaction]
) -> dict[bytes, list[Any] | Error]:
    """Goes on from the masters. marked: the items. Returns results and errors by txid."""
    families = {txid: Family(stored[txid].child_count, height) for txid, _, height in marked}
    for txid, family in families.items():
        owe_children_dah(context, txid, family.child_count)
    parents = {txid: [parent for parent, _ in stored[txid].spent or ()] for txid, value, _ in marked if value}
    errors = mark_children(context, families) | note_conflicting(context, parents)
    links = read_links(context, {txid: stored[txid] for txid in families})
    return {txid: errors.get(txid) or _result(own) for txid, own in links.items()}


def _result(links: Links | Error) -> list[Any] | Error:
    return links if isinstance(links, Error) else [links.affected, links.spenders]
