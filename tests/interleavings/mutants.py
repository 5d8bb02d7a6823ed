"""Planted bugs: the models must find every one, or their silence means nothing. Those of coins and counters are the
simulator's too."""

from typing import Any, Final

from store import Mode, Write
from tests.simulation.planted import Mutant, in_worker
from tests.simulation.record_mutants import COINS, COUNTERS, WHOLE_BATCHES
from workers.runtime.context import Work
from workers.runtime.operations import create_locked

_finish, _write_children = create_locked._finish, create_locked._write_children


def _finishes_the_master_first(work: Work, whole: Any, *rest: Any) -> None:
    work.operate([Write(one.source.txid, {"creating": None}, Mode.UPDATE) for one in whole])
    _finish(work, whole, *rest)


def _never_replaces(work: Work, ones: Any, errors: Any, *, replace: bool) -> Any:
    return _write_children(work, ones, errors, replace=False)


CREATIONS: Final = {
    "the master's mark comes off first": in_worker(create_locked, "_finish", _finishes_the_master_first),
    "what is begun is not finished": in_worker(create_locked, "_complete_children", lambda work, begun, errors: []),
    "only the children are finished that the second one knows": in_worker(
        create_locked, "_as_begun", lambda one, master: one
    ),
    "what a dead creator left is kept": in_worker(create_locked, "_write_children", _never_replaces),
    "nobody takes the lock": in_worker(create_locked, "_take_locks", lambda work, ones, token, errors: ones),
}

MUTANTS: Final[dict[str, dict[str, Mutant]]] = {
    "coins": COINS | WHOLE_BATCHES,
    "counters": COUNTERS,
    "creations": CREATIONS,
}
