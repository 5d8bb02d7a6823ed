"""Transactions that are there already: nothing is created. What another attempt may have left is completed, mined
blocks that are missing are added, and what was to follow from its spends is sent again. A parent that is gone, or marks
it, is no refusal."""

from collections.abc import Sequence

from protocol import codes
from protocol.codes import UNKNOWN
from protocol.wire import Error
from store import RuleCall
from store.layout import TXID_BYTES, child_index, locate
from workers.runtime.children.follow_ups import owe_children_dah
from workers.runtime.context import DispatchContext
from workers.runtime.creation.found import complete_found
from workers.runtime.rule_answer import RuleAnswer, read_rule_answer

from .acceptance import Acceptance


def complete_there(context: DispatchContext, there: Sequence[Acceptance]) -> None:
    """Sets `error` of each that is not complete."""
    if not there:
        return
    errors: dict[int, Error] = {}
    found = [(each.candidate, each.found) for each in there if each.candidate is not None and each.found is not None]
    complete_found(context, found, errors)
    for acceptance in there:
        error = errors.get(acceptance.creation)
        if error is not None and error.code != codes.TX_EXISTS:
            acceptance.error = _of_one_that_may_hold(acceptance, error)
    _tell_parents(context, there)
    _set_mined(context, [acceptance for acceptance in there if acceptance.error is None])


def _of_one_that_may_hold(acceptance: Acceptance, error: Error) -> Error:
    """Where this attempt had spent before it found it, that stands."""
    if not acceptance.spends:
        return error
    return error._replace(executed=UNKNOWN, details={"outpoints": [list(one.outpoint) for one in acceptance.spends]})


def _tell_parents(context: DispatchContext, there: Sequence[Acceptance]) -> None:
    """What it spent in child records their masters may not have heard of: the note may have died with its worker."""
    size = context.store.utxo_batch_size
    heights = {
        record: acceptance.height
        for acceptance in there
        if acceptance.spends_something
        for txid, vout in acceptance.outpoints
        if vout >= size
        for record, _ in [locate(txid, vout, size)]
    }
    calls = [RuleCall(record, "tellState", (height, context.retention)) for record, height in heights.items()]
    for (record, height), result in zip(heights.items(), context.try_operate(calls), strict=True):
        answer = read_rule_answer(result, "child record")
        if answer.state_seq is not None:
            context.notes.add(record[:TXID_BYTES], child_index(record), answer.state_seq, height)


def _set_mined(context: DispatchContext, there: Sequence[Acceptance]) -> None:
    """Blocks that are missing are added, as ones of the longest chain, which unlocks; where none is, only what may have
    been lost on the way to the child records is sent again."""
    calls = [
        (acceptance, _call(context, acceptance, block))
        for acceptance in there
        for block in acceptance.mined
        if acceptance.found is not None and block[0] not in (acceptance.found.get("blockIDs") or [])
    ]
    answers: dict[int, RuleAnswer] = {}
    for (acceptance, _), result in zip(calls, context.try_operate([call for _, call in calls]), strict=True):
        answer = read_rule_answer(result, "transaction")
        if answer.error is None:
            answers[acceptance.index] = answer
        elif acceptance.error is None:
            error = answer.error._replace(executed=UNKNOWN) if acceptance.index in answers else answer.error
            acceptance.error = _of_one_that_may_hold(acceptance, error)
    for acceptance in there:
        if acceptance.mined and acceptance.error is None:
            _tell_children(context, acceptance, answers.get(acceptance.index))


def _call(context: DispatchContext, acceptance: Acceptance, block: Sequence[int]) -> RuleCall:
    on_longest_chain, unset = True, False
    arguments = *block, acceptance.height, context.retention, on_longest_chain, unset
    return RuleCall(acceptance.txid, "setMined", arguments)


def _tell_children(context: DispatchContext, acceptance: Acceptance, answer: RuleAnswer | None) -> None:
    """answer: of the last block that was added; None where there was none."""
    found, txid = acceptance.found or {}, acceptance.txid
    if answer is None:
        children, locked, seq = found.get("totalExtraRecs"), bool(found.get("locked")), found.get("lockSeq")
    else:
        children, locked, seq = answer.child_count, False, answer.lock_seq
    if not children:
        return
    owe_children_dah(context, txid, children)
    if seq:
        item = [txid, children, locked, seq]
        context.batch.add_awaited_follow_up(acceptance.index, "lock_children", txid, children, item)
