"""The faults that this project has had, or might have, in rules and operations, put back one by one: the model must
find every one.

What two dispatches at the same moment would need to show (a release of another life, a lock that nobody takes) is not
here: tests/interleavings has it."""

from collections.abc import Callable
from typing import Any, Final

from store import layout
from store.lmdb.rules import alerts, blocks, children, delete_at_height, flags, giving_back, spending
from tests.model.planted import Edit, Mutant, fault, fault_of_records
from tests.model.run import run
from tests.model.subject import EMBEDDED, RECORDS, opened
from workers.runtime.abandoning import abandonment, barring
from workers.runtime.accepting import acceptance, at_once, inputs, settling, there
from workers.runtime.children import counting, follow_ups
from workers.runtime.creation import found, master, under_lock
from workers.runtime.operations import set_conflicting, set_locked, set_mined, spend, utxo
from workers.runtime.spending import giving_back as giving_back_of
from workers.runtime.spending import mined_spender
from workers.runtime.spending.parsed_spend import ParsedSpend

RUNS: Final = 150
STEPS: Final = 60


def _getter(owner: type, name: str) -> Callable[..., Any]:
    """The function of a property."""
    getter: Callable[..., Any] = vars(owner)[name].fget
    return getter


# Spends, and what takes them back.
COINS: Final = {
    "a release ignores who else relies on the spend": fault_of_records(giving_back.release, "count > 0", "False"),
    "joining a spend is not counted": fault_of_records(
        spending._note_attempt, "0 if is_applied else count + 1", "0 if is_applied else count"
    ),
    "a refusal of a whole record does not tell what is the asker's": fault(spending._add_mine, "if mine:", "if False:"),
    "a refusal of one output does not tell that it is the asker's": fault(
        spending._add_error, "if is_mine:", "if False:"
    ),
    "a refused attempt takes its spends back": fault_of_records(
        ParsedSpend.release_call,
        'RuleCall(self.record, "release", (*self.target, self.height, retention, life))',
        "self.unspend_call(retention)",
    ),
    "a refused attempt gives back only what it applied": fault_of_records(
        giving_back_of.give_back_failed,
        "[spend for parts in refused for spend in good[parts]]",
        "[spend for parts in refused for spend in good[parts] if spend.item_index in outcomes.applied]",
    ),
    "a refused attempt gives back twice": fault_of_records(
        giving_back_of._release,
        "for spend in spends]\n    try",
        "for spend in (*spends, *spends)]\n    spends = (*spends, *spends)\n    try",
    ),
    "a refused attempt gives nothing back": fault_of_records(
        giving_back_of.give_back_failed, "spend for parts in refused for spend", "spend for parts in () for spend"
    ),
    "a refusal does not tell what stands": fault(giving_back_of._held, "return list(held.values())", "return []"),
    "an unknown answer does not tell what may stand": fault_of_records(
        giving_back_of._failure, "_outpoints(left), []", "[], []"
    ),
    "the spends of a transaction are no group": fault(spend.run, "context.store.is_atomic", "False"),
    "a group that was put back counts as released": fault(
        giving_back_of._release, "not in own}, {})", "not in own and False}, {})"
    ),
    "a spend is judged by the stored spender's pruning": fault(
        spending._judge,
        "is_pruned(bins.deletedChildren, spender)",
        "is_pruned(bins.deletedChildren, utxo[UTXO_BYTES:])",
    ),
    "taking back takes from a spender that was pruned": fault(
        giving_back._refuse, "if is_pruned(record.bins.deletedChildren, spender)", "if False"
    ),
    "taking back takes another's spend": fault(giving_back._refuse, "owner and owner != spender", "False"),
    "taking back takes a frozen output for a spent one": fault(giving_back._refuse, "owner == FROZEN", "False"),
    "taking back leaves the count": fault(giving_back._give_back, "bins.spentUtxos -= 1", "pass"),
    "the spender's chain is not looked at": fault(
        mined_spender.refuse_mined, 'spender.value.get("blockIDs") and', "False and"
    ),
    "a coinbase matures one block later": fault(
        spending._forbid, "spending_height > current", "spending_height >= current"
    ),
    "a creation counts maturity from one block later": fault(
        layout._common_bins, "options.block_height + COINBASE", "1 + options.block_height + COINBASE"
    ),
    "what is being created can be spent": fault_of_records(spending._forbid, "if bins.creating", "if False"),
    "what is conflicting can be spent": fault(spending._forbid, "bins.conflicting and", "False and"),
    "what is locked can be spent": fault(spending._forbid, "bins.locked and", "False and"),
}

# The alert system.
ALERTS: Final = {
    "a spent output is frozen": fault(alerts.freeze, "if owner:", "if False:"),
    "what is frozen is frozen again": fault(alerts.freeze, "if owner == FROZEN:", "if False:"),
    "what is not frozen is reassigned": fault(alerts._open_frozen, "if not owner:", "if False:"),
    "what is spent is unfrozen": fault(alerts._open_frozen, "if owner != FROZEN:", "if False:"),
    "a reassigned output can be spent one block later": fault(spending._judge, "height > current", "height >= current"),
    "a reassigned output can be spent at once": fault(
        alerts.reassign, "{offset: block_height + spendable_after}", "{offset: block_height}"
    ),
    "a reassignment keeps the old output": fault(alerts.reassign, "| {offset: [satoshis, script]}", "| {}"),
    "a reassigned record can be done": fault(alerts.reassign, "bins.recordUtxos += 1", "pass"),
}

# Blocks, marks and when a transaction is done.
BLOCKS: Final = {
    "a block is listed twice": fault(blocks._mine, "if block_id not in block_ids", "if True"),
    "to be mined does not unlock": fault(blocks._mine, "bins.locked = False", "pass"),
    "every block is on the longest chain": fault(blocks._mine, "if on_longest_chain:", "if True:"),
    "what is mined stays unmined": fault(blocks._mine, "if on_longest_chain:", "if False:"),
    "what is being created is mined": fault_of_records(blocks.set_mined, "if bins.creating:", "if False:"),
    "what is in no block any more is not unmined": fault(
        blocks._unmine, "is_blockless or not", "not is_blockless and not"
    ),
    "another block's end does not count": fault(
        blocks._unmine, "(is_blockless or not on_longest_chain)", "is_blockless"
    ),
    "a block that was not listed ends the mining": fault(blocks._unmine, "(was_listed or is_blockless)", "True"),
    "the latest height stays": fault(blocks._leave_longest_chain, "if bins.unminedSince is None:", "if True:"),
    "to be unset unlocks": fault(
        blocks.set_mined,
        "_unmine(bins, block_id, current, on_longest_chain is True)",
        "_unmine(bins, block_id, current, on_longest_chain is True); bins.locked = False",
    ),
    "what is in no block is on the longest chain": fault(blocks.mark_longest_chain, "elif bins.blockIDs", "elif True"),
    "a conflicting transaction is noted twice": fault(flags.note_conflicting, "if child_txid in children", "if False"),
    "unlocking applies no delete-at-height": fault(
        flags.set_locked, "return conclude(record, answer, height, retention)", "return answer"
    ),
    "a lock keeps the delete-at-height": fault(flags._lock, "bins.deleteAtHeight = None", "pass"),
    "preserving keeps the delete-at-height": fault(flags.preserve_until, "bins.deleteAtHeight = None", "pass"),
    "what is locked gets a delete-at-height": fault(delete_at_height._update_height, "if bins.locked:", "if False:"),
    "what is preserved gets one": fault(delete_at_height._update_height, "bins.preserveUntil is not None", "False"),
    "a delete-at-height stays": fault(delete_at_height._update_height, "after = None", "after = before"),
    "a conflicting transaction gets none": fault(delete_at_height._update_height, "if bins.conflicting:", "if False:"),
    "what is off the longest chain is done": fault(delete_at_height._is_finished, "and bins.unminedSince is None", ""),
    "what is in no block is done": fault(delete_at_height._is_finished, "and bool(bins.blockIDs)", ""),
    "what has coins in its children is done": fault(
        delete_at_height._is_finished, "and (bins.spentExtraRecs or 0) == total_extra_recs", ""
    ),
    "done at birth is not seen": fault(layout._delete_at_birth, "if options.mined and not any(utxos)", "if False"),
    "conflicting at birth has no delete-at-height": fault(
        layout._delete_at_birth, "if options.conflicting", "if False"
    ),
    "locked at birth has one": fault(layout._delete_at_birth, "or options.locked", ""),
    "a child of data alone is never spent": fault(layout._children, 'bins["recordUtxos"] == 0', "False"),
    "data are UTXOs from one block later": fault(layout.is_utxo, "height >= genesis_height", "height > genesis_height"),
}

# What masters and children tell each other.
COUNTERS: Final = {
    "the last note counts": fault(
        children._take,
        "if _is_newer(seq, before) or (before == 0 and not is_whole):",
        "if seq % SEQ_MODULUS != before:",
    ),
    "a child's state does not count when it is taken back": fault(
        delete_at_height._update_state, "(seq % 2 == 1) is not is_all_spent", "is_all_spent and seq % 2 == 0"
    ),
    "a note is added to the count, whatever was known": fault(children._take, "seq % 2 - before % 2", "seq % 2"),
    "locks take effect in any order": fault(flags.set_locked, "lock_seq <= (bins.lockSeq or 0)", "False"),
    "a lock is not numbered": fault(flags.raise_lock_seq, "(bins.lockSeq or 0) + 1", "1"),
    "what was done already is not noted again": fault(
        follow_ups.owe_follow_ups, "answer.signal is not None or was_done", "answer.signal is not None"
    ),
    "taking back is not noted": fault(
        follow_ups.owe_follow_ups,
        "answer.signal is not None or was_done",
        'answer.signal not in (None, "NOTALLSPENT")',
    ),
    "a recount is not done": fault(counting.finish_counting, "if signal == RECOUNT:", "if False:"),
    "children do not hear of the delete-at-height": fault(follow_ups.owe_children_dah, "if child_count:", "if False:"),
    "children are not locked": fault(set_locked.run, "if child_count:", "if False:"),
    "children are not unlocked by a block": fault(set_mined.run, "if answer.child_count and", "if False and"),
    "children are not conflicting": fault(set_conflicting._follow, "mark_children(context, families)", "{}"),
    "parents do not hear of a conflict": fault(
        set_conflicting._follow, "for txid, value, _ in marked if value", "for txid, value, _ in ()"
    ),
}

# Transactions come into the set.
CREATIONS: Final = {
    "what is begun is not finished": fault_of_records(
        under_lock._finish, "finished = without_errors(whole, errors)", "finished = []"
    ),
    "what a dead creator left is kept": fault_of_records(under_lock._begin, "replace=True", "replace=False"),
    "a conflicting creation is not noted in its parents": fault(
        found.note_in_parents, "for candidate in candidates", "for candidate in ()"
    ),
    "one that is found is not noted in its parents": fault(
        found.complete_found, "candidate.conflicting and master.conflicting", "False"
    ),
    "spends and creation are no group": fault(at_once._try, "Mode.CREATE, group=acceptance.creation)", "Mode.CREATE)"),
    "one that is to be conflicting spends": fault(
        _getter(acceptance.Acceptance, "spends_something"), "self.is_conflicting or", "False or"
    ),
    "one that is there is not mined": fault(there._blocks_to_set, "not in known", "in known"),
    "one that another has created is refused": fault_of_records(
        settling._look_at_those_that_exist, "errors.pop(part, None)", "pass"
    ),
    "flags of an acceptance are not passed on": fault(
        inputs._spends, "acceptance.flags & ACCEPT_IGNORE_LOCKED", "False"
    ),
    "outputs of the batch are not known": fault(inputs._output, "if txid in here", "if False"),
    "abandoning does not look for the spender": fault(
        barring.refusal_of_spender, 'result.value.get("conflicting")', "True"
    ),
    "abandoning does not look for marks of pruned spenders": Mutant(
        (
            Edit(abandonment._find, "hex() in pruned", "hex() in {}"),
            Edit(giving_back._refuse, "if is_pruned(record.bins.deletedChildren, spender)", "if False"),
        )
    ),
    "what bars a creation is not looked at": fault_of_records(
        master.read_master, "abandoned_error() if master.abandoned", "None if master.abandoned"
    ),
}

# What is seen.
LOOKS: Final = {
    "what is spent is seen after the flags": fault(utxo._state, "if owner:", "if False:"),
    "what is frozen is seen as spent": fault(utxo._state, "if owner == FROZEN:", "if False:"),
    "heights are seen one block later": fault(
        utxo._state, "if max(matures, thaws) <= (height or 0)", "if max(matures, thaws) < (height or 0)"
    ),
    "flags are not seen": fault(utxo._state, "if found.master.get(flag) or found.home.get(flag)", "if False"),
    "a reassigned output is seen as spendable": fault(utxo._state, "max(matures, thaws) <=", "matures <="),
}

MUTANTS: Final[dict[str, Mutant]] = {**COINS, **ALERTS, **BLOCKS, **COUNTERS, **CREATIONS, **LOOKS}


# Those that are found soon, one of each kind: the tests' own.
QUICK: Final = (
    "a refused attempt gives nothing back",
    "taking back takes another's spend",
    "a reassigned output can be spent one block later",
    "the latest height stays",
    "a child's state does not count when it is taken back",
    "spends and creation are no group",
    "what is spent is seen after the flags",
)


def find(name: str, *, runs: int = RUNS, seed: int = 1) -> int | None:
    """After how many runs the model finds it; None: not within so many."""
    mutant = MUTANTS[name]
    stores = [RECORDS] if mutant.only_records else [EMBEDDED, RECORDS]
    tried = 0
    for store in stores:
        with opened(store) as subject, mutant.planted():
            outcome = run(subject, runs, STEPS, seed)
        tried += outcome.runs + 1
        if outcome.difference is not None:
            return tried
    return None
