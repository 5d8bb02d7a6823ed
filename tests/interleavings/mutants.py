"""Planted bugs: the models must find every one, or their silence means nothing. Those of coins and counters are the
simulator's too."""

from typing import Any, Final

from store import Mode, Write
from tests.simulation.planted import Mutant, in_worker
from tests.simulation.record_mutants import COINS, COUNTERS, WHOLE_BATCHES
from workers.runtime.conflicts import links, marking
from workers.runtime.context import DispatchContext
from workers.runtime.creation import under_lock
from workers.runtime.operations import set_conflicting

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

MUTANTS: Final[dict[str, dict[str, Mutant]]] = {
    "coins": COINS | WHOLE_BATCHES,
    "conflicts": CONFLICTS,
    "counters": COUNTERS,
    "creations": CREATIONS,
}
