"""Planted bugs in what keeps coins, counters and locks right: each is one thing that a design, or the code, had wrong
at some time, or might have. Both must find them: the models of every interleaving (tests/interleavings/), and, but for
those that need too rare a meeting, the simulated runs."""

from typing import Any, Final

from msgspec.structs import replace

from protocol.codes import UNKNOWN
from tests.simulation.planted import Mutant, in_rule, in_worker
from workers.runtime.children import counting, delete_at_height
from workers.runtime.children.follow_ups import owe_follow_ups
from workers.runtime.context import DispatchContext
from workers.runtime.operations import note_child, set_dah_children, spend
from workers.runtime.rule_answer import RuleAnswer
from workers.runtime.spending import calls, giving_back, taking_back
from workers.runtime.spending.parsed_spend import ParsedSpend

# ---- coins

_release, _try, _call = giving_back._release, calls.try_spends, calls.spend_call


def _releases_what_it_applied(context: DispatchContext, spends: Any, outcomes: Any) -> Any:
    return _release(context, [applied for applied in spends if applied.item_index in outcomes.applied], outcomes)


def _releases_twice(context: DispatchContext, spends: Any, outcomes: Any) -> Any:
    _release(context, spends, outcomes)
    return _release(context, spends, outcomes)


def _tells_nothing_where_all_is_put_back(context: DispatchContext, spends: Any, outcomes: Any) -> Any:
    return giving_back._Released(set(), {}) if context.store.is_atomic else _release(context, spends, outcomes)


def _tries_and_believes(context: DispatchContext, spends: Any, errors: Any) -> Any:
    """What is in doubt counts as applied."""
    outcomes = _try(context, spends, errors)
    for tried in spends:
        if tried.item_index in errors and errors[tried.item_index].executed == UNKNOWN:
            outcomes.lives[tried.item_index] = 0
    return outcomes


COINS: Final = {
    "a release ignores who else relies on the spend": in_rule("elseif count > 0 then", "elseif false then"),
    "a release ignores the life it was of": in_rule(
        'spender ~= target.spender or typeOf(life) ~= "integer" or life ~= lifeNow', "spender ~= target.spender"
    ),
    "another life has the same number": in_rule(
        "joinedOf(joined, target.offset) + 1, 0)", "joinedOf(joined, target.offset) + 0, 0)"
    ),
    "another life inherits who relied on the one before": Mutant(
        rules=[
            (
                "joinedOf(joined, target.offset) + 1, 0)",
                "joinedOf(joined, target.offset) + 1, (select(2, joinedOf(joined, target.offset))))",
            ),
            ("isApplied and 0 or count + 1", "isApplied and count or count + 1"),
        ]
    ),
    "joining a spend is not counted": in_rule("isApplied and 0 or count + 1", "isApplied and 0 or count"),
    "a refusal of a whole record does not tell what is the asker's": in_rule('refusal["mine"] = mine', ""),
    "a refused attempt takes its spends back": in_worker(
        [ParsedSpend], "release_call", lambda self, retention, life: self.unspend_call(retention)
    ),
    "a refused attempt gives back only what it applied": in_worker(
        [giving_back], "_release", _releases_what_it_applied
    ),
    "a refused attempt gives back twice": in_worker([giving_back], "_release", _releases_twice),
    "a refused attempt gives back what is in doubt": in_worker([spend], "try_spends", _tries_and_believes),
    "a refusal does not tell what stands": in_worker([giving_back], "_held", lambda *_: []),
    "a refused attempt gives nothing back": in_worker(
        [giving_back], "_release", lambda *_: giving_back._Released(set(), {})
    ),
}

# In a store whose batches are one whole.
WHOLE_BATCHES: Final = {
    "the spends of a transaction are no group": in_worker(
        [calls], "spend_call", lambda group, retention: replace(_call(group, retention), group=None)
    ),
    "what stands is not told where all is put back": in_worker(
        [giving_back], "_release", _tells_nothing_where_all_is_put_back
    ),
}

# ---- counters and locks


def _owes_only_news(context: DispatchContext, record: bytes, answer: RuleAnswer, height: int, **_: Any) -> None:
    owe_follow_ups(context, record, answer, height)


def _owes_nothing_for_taking_back(
    context: DispatchContext, record: bytes, answer: RuleAnswer, height: int, **rest: Any
) -> None:
    if answer.signal != "NOTALLSPENT":
        owe_follow_ups(context, record, answer, height, **rest)


def _writes_dah_once(context: DispatchContext, txid: bytes, count: int) -> Any:
    dah, error = delete_at_height._read_master(context, txid)
    return error or delete_at_height._write_children(context, txid, count, dah)


COUNTERS: Final = {
    "the last note counts": in_rule(
        "if isNewer(seq, before) or (before == 0 and not isWhole) then", "if seq % SEQ_MODULUS ~= before then"
    ),
    "a child's state does not count when it is taken back": in_rule(
        "if (seq % 2 == 1) ~= isAllSpent then", "if isAllSpent and seq % 2 == 0 then"
    ),
    "what is known goes on where it can't be right": in_rule(
        "return askForRecount(rec, result, states, parsed.unspent, currentBlockHeight, blockHeightRetention)",
        "return result",
    ),
    "locks take effect in any order": in_rule('if lockSeq <= (rec["lockSeq"] or 0) then', "if false then"),
    "a lock is not numbered": in_rule(
        'result["lockSeq"] = raiseLockSeq(rec)', 'rec["lockSeq"] = 1\n        result["lockSeq"] = 1'
    ),
    "a lock keeps the delete-at-height": in_rule(
        'rec["deleteAtHeight"] = nil\n        conclude(rec, result, true', "conclude(rec, result, true"
    ),
    "what was done already is not noted again": in_worker([calls, taking_back], "owe_follow_ups", _owes_only_news),
    "taking back is not noted": in_worker([calls, taking_back], "owe_follow_ups", _owes_nothing_for_taking_back),
    "a recount is not done": in_worker(
        [note_child], "finish_counting", lambda context, txid, answer, height: (None, None)
    ),
    "the children's delete-at-height is written once": in_worker(
        [counting, set_dah_children], "set_children_dah", _writes_dah_once
    ),
}


_TOO_RARE: Final = {
    "another life inherits who relied on the one before",
    "a refused attempt gives back what is in doubt",
    "the children's delete-at-height is written once",
}
SIMULATED: Final[dict[str, Mutant]] = {
    name: mutant for name, mutant in {**COINS, **COUNTERS}.items() if name not in _TOO_RARE
}
