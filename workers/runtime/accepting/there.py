"""Transactions that are there already: nothing is created. What another attempt may have left is completed, mined
blocks that are missing are added, and what was to follow from its spends is sent again. A parent that is gone, or marks
it, is no refusal."""

from collections.abc import Sequence

from protocol.codes import NO
from protocol.item_flags import ACCEPT_LOCKED
from protocol.wire import Error
from store import RuleCall
from store.layout import TXID_BYTES, child_index, locate
from workers.runtime.children.follow_ups import owe_children_dah
from workers.runtime.context import DispatchContext
from workers.runtime.creation.found import complete_found, is_to_be_completed
from workers.runtime.rule_answer import RuleAnswer, read_rule_answer

from .acceptance import Acceptance


def complete_there(context: DispatchContext, there: Sequence[Acceptance]) -> None:
    """Each is accepted, or gets its error."""
    if not there:
        return
    _complete_found(context, there)
    good = [acceptance for acceptance in there if acceptance.error is None]
    _tell_parents(context, good)
    _set_mined(context, good)
    for acceptance in good:
        acceptance.is_accepted = acceptance.error is None


def _complete_found(context: DispatchContext, there: Sequence[Acceptance]) -> None:
    found = [(each.candidate, each.found) for each in there if each.candidate is not None and each.found is not None]
    was_begun = {each.index for each in there if each.is_begun}
    written = {candidate.item_index for candidate, master in found if is_to_be_completed(candidate, master)}
    for acceptance in there:
        acceptance.is_begun |= acceptance.creation in written
    errors = complete_found(context, found)
    for acceptance in there:
        error = errors.get(acceptance.creation)
        if error is not None:
            acceptance.is_begun = acceptance.index in was_begun
            acceptance.fail(error)


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
    calls = [(acceptance, block) for acceptance in there for block in _blocks_to_set(acceptance)]
    was_begun = {acceptance.index for acceptance, _ in calls if acceptance.is_begun}
    for acceptance, _ in calls:
        acceptance.is_begun = True
    results = context.try_operate([_call(context, acceptance, block) for acceptance, block in calls])
    answers: dict[int, RuleAnswer] = {}
    errors: dict[int, Error] = {}
    for (acceptance, _), result in zip(calls, results, strict=True):
        answer = read_rule_answer(result, "transaction")
        if answer.error is None:
            answers[acceptance.index] = answer
        else:
            earlier = errors.setdefault(acceptance.index, answer.error)
            if earlier.executed == NO:  # the worst of them
                errors[acceptance.index] = answer.error
    for acceptance in there:
        error = errors.get(acceptance.index)
        if error is not None:
            acceptance.is_begun = acceptance.index in was_begun or acceptance.index in answers
            acceptance.fail(error)
        elif acceptance.mined:
            _tell_children(context, acceptance, answers.get(acceptance.index))


def _blocks_to_set(acceptance: Acceptance) -> Sequence[Sequence[int]]:
    """Those that are missing. One that is listed may be of another chain than the longest: where none is missing, the
    first one makes it mined, and unlocks, unless that is so. A lock that the item itself asks for is left."""
    found = acceptance.found
    if found is None:
        return ()
    known = found.blockIDs or ()
    missing = [block for block in acceptance.mined if block[0] not in known]
    is_locked = found.locked and not acceptance.flags & ACCEPT_LOCKED
    return missing if missing or (found.unminedSince is None and not is_locked) else acceptance.mined[:1]


def _call(context: DispatchContext, acceptance: Acceptance, block: Sequence[int]) -> RuleCall:
    on_longest_chain, unset = True, False
    arguments = *block, acceptance.height, context.retention, on_longest_chain, unset
    return RuleCall(acceptance.txid, "setMined", arguments)


def _tell_children(context: DispatchContext, acceptance: Acceptance, answer: RuleAnswer | None) -> None:
    """answer: of the last block that was added; None where there was none."""
    found, txid = acceptance.found, acceptance.txid
    if answer is not None:
        children, locked, seq = answer.child_count, False, answer.lock_seq
    elif found is not None:
        children, locked, seq = found.totalExtraRecs, bool(found.locked), found.lockSeq
    else:
        return
    if not children:
        return
    owe_children_dah(context, txid, children)
    if seq:
        item = [txid, children, locked, seq]
        context.batch.add_awaited_follow_up(acceptance.index, "lock_children", txid, children, item)
