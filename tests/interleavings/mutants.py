"""Planted bugs: the models must find every one, or their silence means nothing. Those of coins and counters are the
simulator's too."""

from typing import Any, Final

from store import Mode, Write
from tests.simulation.planted import Mutant, in_worker
from tests.simulation.record_mutants import COINS, COUNTERS, WHOLE_BATCHES
from workers.runtime.context import DispatchContext
from workers.runtime.creation import under_lock

_finish, _write_children = under_lock._finish, under_lock._write_children


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

MUTANTS: Final[dict[str, dict[str, Mutant]]] = {
    "coins": COINS | WHOLE_BATCHES,
    "counters": COUNTERS,
    "creations": CREATIONS,
}
