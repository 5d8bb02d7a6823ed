"""Planted bugs: the models must find every one, or their silence means nothing. Those of coins and counters are the
simulator's too."""

from typing import Any, Final

from msgspec.structs import replace

from store import Mode, Read, Status, Write
from store.layout import ABANDONED
from tests.interleavings.explorer import Explorer
from tests.simulation.planted import Mutant, in_worker
from tests.simulation.record_mutants import COINS, COUNTERS, WHOLE_BATCHES
from workers.runtime.abandoning import at_once, barring
from workers.runtime.abandoning.abandonment import find_held
from workers.runtime.abandoning.barring import Barrier
from workers.runtime.accepting import at_once as accepted_at_once
from workers.runtime.accepting import by_levels, settling
from workers.runtime.conflicts import links, marking
from workers.runtime.context import DispatchContext
from workers.runtime.creation import found, under_lock
from workers.runtime.creation.at_once import create_at_once
from workers.runtime.operations import abandon, accept, set_conflicting
from workers.runtime.spending import calls
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
        [under_lock], "_as_begun", lambda candidate, master: candidate
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

_group, _read_found = at_once._group, found._read_found


def _reads_only(self: Barrier, txids: Any) -> list[bytes]:
    results = self._context.operate([Read(txid, ("conflicting",)) for txid in txids])
    return [txid for txid, result in zip(txids, results, strict=True) if result.status is not Status.NOT_FOUND]


def _bars_once(self: Barrier, txids: Any) -> list[bytes]:
    """What bars already does not stand longer."""
    results = self._context.operate([Write(txid, {ABANDONED: True}, Mode.CREATE) for txid in txids])
    there = []
    for txid, result in zip(txids, results, strict=True):
        (found,) = self._context.operate([Read(txid, (ABANDONED,))])
        if result.status is not Status.OK and not (result.status is Status.EXISTS and found.status is Status.OK):
            self.refused[txid] = error_of_record(result, "what bars the creation")
        elif ABANDONED not in found.value:
            there.append(txid)
    return there


def _gives_nothing_back(context: DispatchContext, going: Any) -> None:
    for index, abandonment in going.items():
        context.batch.complete(index, abandonment.result)


def _gives_back_and_bars(context: DispatchContext, abandonments: Any) -> None:
    find_held(context, abandonments)
    abandon._give_back(context, abandonments)
    Barrier(context, [abandonment.spender for abandonment in abandonments.values()])


def _locks_and_believes(self: Barrier, txids: Any) -> None:
    """It does not look again."""
    self._locked = list(self._refuse_unless_conflicting(txids))
    self._set_locked(self._locked, True)


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
    "nobody bars the creation": in_worker([Barrier], "_bar", lambda self, txids: []),
    "abandon reads, and then gives back": in_worker([Barrier], "_bar", _reads_only),
    "what bars does not stand longer for the next one": in_worker([Barrier], "_bar", _bars_once),
    "an abandon gives nothing back": in_worker([abandon], "_give_back", _gives_nothing_back),
    "it is given back, and then barred": in_worker([abandon], "_bar_and_give_back", _gives_back_and_bars),
    "what bars is written over a transaction": in_worker([barring], "Write", _writes_whatever_is_there),
    "what bars goes too early": in_worker([Explorer], "_is_old", lambda self, state: True),
    "what bars is taken for the transaction": in_worker(
        [found],
        "_read_found",
        lambda result: result.value if result.status is Status.OK else _read_found(result),
    ),
    "a conflicting one is not locked": in_worker(
        [Barrier], "_set_locked", lambda self, txids, value: [None] * len(txids)
    ),
    "a conflicting one is locked, and not looked at again": in_worker([Barrier], "_lock", _locks_and_believes),
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
