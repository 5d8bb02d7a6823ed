"""Planted bugs: the models must find every one, or their silence means nothing. Those of coins and counters are the
simulator's too."""

from typing import Any, Final

from msgspec.structs import replace

from store import Mode, Read, Status, Write
from store.layout import ABANDONED
from tests.interleavings.explorer import Explorer
from tests.simulation.planted import Mutant, in_rule, in_worker
from tests.simulation.record_mutants import COINS, COUNTERS, WHOLE_BATCHES
from workers.runtime.abandoning import at_once, barring, by_record
from workers.runtime.abandoning.abandonment import find_held
from workers.runtime.abandoning.barring import Found
from workers.runtime.accepting import at_once as accepted_at_once
from workers.runtime.accepting import by_levels, settling
from workers.runtime.conflicts import links, marking
from workers.runtime.context import DispatchContext
from workers.runtime.creation import found, master, under_lock
from workers.runtime.creation.at_once import create_at_once
from workers.runtime.operations import abandon, accept, set_conflicting
from workers.runtime.spending import calls
from workers.runtime.spending.parsed_spend import ParsedSpend
from workers.runtime.store_errors import error_of_record

_finish, _write_children = under_lock._finish, under_lock._write_children
_follow = set_conflicting._follow


def _finishes_the_master_first(context: DispatchContext, whole: Any, *rest: Any) -> None:
    context.operate([Write(candidate.txid, {"creating": None}, Mode.UPDATE) for candidate in whole])
    _finish(context, whole, *rest)


def _never_replaces(context: DispatchContext, candidates: Any, errors: Any, *, replace: bool) -> Any:
    return _write_children(context, candidates, errors, replace=False)


CREATIONS: Final = {
    "the master's mark comes off first": in_worker([under_lock], "_finish", _finishes_the_master_first),
    "what is begun is not finished": in_worker([under_lock], "_complete_children", lambda context, begun, errors: []),
    "only the children are finished that the second one knows": in_worker(
        [under_lock], "_as_begun", lambda candidate, *_: candidate
    ),
    "what a dead creator left is kept": in_worker([under_lock], "_write_children", _never_replaces),
    "nobody takes the lock": in_worker(
        [under_lock], "_take_locks", lambda context, candidates, token, errors: candidates
    ),
}


def _marks_children_as_they_were(context: DispatchContext, families: Any) -> Any:
    """And does not look at the master again."""
    errors: Any = {}
    flags = marking._read_masters(context, families, errors)
    marking._write_children(context, families, flags, errors)
    return errors


def _reads_before_the_children_are_marked(context: DispatchContext, marked: Any, stored: Any) -> Any:
    """As where they are marked in a follow-up."""
    found = links.read_links(context, {txid: stored[txid] for txid, _, _ in marked})
    _follow(context, marked, stored)
    return {txid: set_conflicting._result(own) for txid, own in found.items()}


CONFLICTS: Final = {
    "the master is not looked at again": in_worker([set_conflicting], "mark_children", _marks_children_as_they_were),
    "who spends is read before the children are marked": in_worker(
        [set_conflicting], "_follow", _reads_before_the_children_are_marked
    ),
}

# ---- accepts and abandons

_group, _read_master = at_once._group, master.read_master
_try, _unspend_call = by_record._try, ParsedSpend.unspend_call


def _all_are_absent(context: DispatchContext, txids: Any) -> Found:
    return Found(set(), {})


def _reads_only(context: DispatchContext, txids: Any) -> Found:
    results = context.operate([Read(txid, ("conflicting",)) for txid in txids])
    there = {txid for txid, result in zip(txids, results, strict=True) if result.status is not Status.NOT_FOUND}
    return Found(there, {})


def _bars_once(context: DispatchContext, txids: Any) -> Found:
    """What bars already does not stand longer."""
    found = Found(set(), {})
    results = context.operate([Write(txid, {ABANDONED: True}, Mode.CREATE) for txid in txids])
    for txid, result in zip(txids, results, strict=True):
        (seen,) = context.operate([Read(txid, (ABANDONED,))])
        if result.status is not Status.OK and not (result.status is Status.EXISTS and seen.status is Status.OK):
            found.errors[txid] = error_of_record(result, "what bars the creation")
        elif ABANDONED not in seen.value:
            found.there.add(txid)
    return found


def _gives_nothing_back(context: DispatchContext, going: Any) -> list[Any]:
    for abandonment in going:
        context.batch.complete(abandonment.item_index, abandonment.result)
    return []


def _gives_back_and_bars(context: DispatchContext, abandonments: Any) -> None:
    by_record._give_back(context, find_held(context, abandonments))
    barring.bar_creations(context, [abandonment.spender for abandonment in abandonments])


def _looks_and_reads(context: DispatchContext, going: Any) -> list[Any]:
    """Whether it is conflicting is looked at before what it holds is read, and not again."""
    looked = barring.find_conflicting(context, [abandonment.spender for abandonment in going])
    with in_worker([by_record], "find_conflicting", lambda context, txids: looked).planted():
        return _try(context, going)


def _gives_no_life(self: ParsedSpend, retention: int, life: int | None = None) -> Any:
    return _unspend_call(self, retention)


def _writes_whatever_is_there(key: bytes, bins: Any, mode: Mode, condition: Any, ttl: int) -> Write:
    return Write(key, bins, mode, None, ttl)


def _creates_and_spends(context: DispatchContext, acceptances: Any) -> None:
    for acceptance in acceptances:
        errors = create_at_once(context, [acceptance.candidate])
        outcomes = by_levels._spend(context, [acceptance], errors)
        settling.settle(context, [acceptance], errors, outcomes)


def _without_group(*asked: Any, **more: Any) -> Any:
    return [replace(operation, group=None) for operation in _group(*asked, **more)]


def _without_its_group(group: Any, retention: int) -> Any:
    return replace(calls.spend_call(group, retention), group=None)


ACCEPTS: Final = {
    "nobody bars the creation": in_worker([by_record], "bar_creations", _all_are_absent),
    "abandon reads, and then gives back": in_worker([by_record], "bar_creations", _reads_only),
    "what bars does not stand longer for the next one": in_worker([by_record], "bar_creations", _bars_once),
    "an abandon gives nothing back": in_worker([by_record], "_give_back", _gives_nothing_back),
    "it is given back, and then barred": in_worker([abandon], "give_back_by_record", _gives_back_and_bars),
    "a conflicting one is looked at before its outputs are read": in_worker([by_record], "_try", _looks_and_reads),
    "the life that was read is not given": in_worker([ParsedSpend], "unspend_call", _gives_no_life),
    "unspend ignores the life it was of": in_rule('if spender ~= "" and isOther then', "if false then"),
    "what bars is written over a transaction": in_worker([barring], "Write", _writes_whatever_is_there),
    "what bars goes too early": in_worker([Explorer], "_is_old", lambda self, state: True),
    "what bars is taken for the transaction": in_worker(
        [found],
        "read_master",
        lambda result: master.Master() if result.status is Status.OK else _read_master(result),
    ),
    "what was found is created anew": in_worker([found], "finish_under_lock", under_lock.create_under_lock),
    "an accept gives back where another one has created it": in_worker(
        [settling], "_look_at_those_that_exist", lambda *_: None
    ),
    "the creation comes before the spends": in_worker([accept], "accept_by_levels", _creates_and_spends),
    **{
        name: COINS[name]
        for name in (
            "a release ignores who else relies on the spend",
            "a release ignores the life it was of",
            "joining a spend is not counted",
            "a refused attempt takes its spends back",
            "a refused attempt gives nothing back",
        )
    },
    # In a store whose batches are one whole.
    "the giving back is no group": in_worker([at_once], "_group", _without_group),
    "the spends of a transaction are no group": in_worker([accepted_at_once], "spend_call", _without_its_group),
}

MUTANTS: Final[dict[str, dict[str, Mutant]]] = {
    "coins": COINS | WHOLE_BATCHES,
    "conflicts": CONFLICTS,
    "counters": COUNTERS,
    "creations": CREATIONS,
    "accepts": ACCEPTS,
}
