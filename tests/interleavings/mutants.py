"""Planted bugs, in the rules and in the workers: the models must find every one, or their silence means nothing.

Each is one thing that a design, or the code, had wrong at some time, or might have.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from protocol.codes import UNKNOWN
from store import Mode, Write
from tests.simulation.records import Steps
from workers.operations import children, create_locked, one_transaction, spend
from workers.work import Answer, Work


class Mutant(NamedTuple):
    """rules: texts of utxo.lua, and what stands in their place. workers: modules or classes, a name there, and what it
    means instead."""

    rules: Sequence[tuple[str, str]] = ()
    workers: Sequence[tuple[Any, str, Any]] = ()

    @contextmanager
    def planted(self) -> Iterator[Steps]:
        """The steps, while the bug is in the workers."""
        with ExitStack() as stack:
            for target, name, value in self.workers:
                stack.enter_context(patch.object(target, name, value))
            yield Steps(*self.rules)


def _rule(text: str, instead: str) -> Mutant:
    return Mutant(rules=[(text, instead)])


def _worker(target: Any, name: str, value: Any) -> Mutant:
    return Mutant(workers=[(target, name, value)])


# ---- coins

_give_back, _try, _held = one_transaction._give_back, spend._try, one_transaction._held


def _gives_back_what_it_applied(work: Work, spends: Any, tried: Any) -> Any:
    return _give_back(work, [one for one in spends if one.item in tried.applied], tried)


def _gives_back_twice(work: Work, spends: Any, tried: Any) -> Any:
    _give_back(work, spends, tried)
    return _give_back(work, spends, tried)


def _tries_and_believes(work: Work, spends: Any, errors: Any) -> Any:
    """What is in doubt counts as applied."""
    tried = _try(work, spends, errors)
    for one in spends:
        if one.item in errors and errors[one.item].executed == UNKNOWN:
            tried.lives[one.item] = 0
    return tried


COINS: Final = {
    "a release ignores who else relies on the spend": _rule("elseif count > 0 then", "elseif false then"),
    "a release ignores the life it was of": _rule(
        "spender ~= target.spender or life ~= lifeNow", "spender ~= target.spender"
    ),
    "another life has the same number": _rule(
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
    "joining a spend is not counted": _rule("isApplied and 0 or count + 1", "isApplied and 0 or count"),
    "a refusal of a whole record does not tell what is the asker's": _rule(
        'refusal["mine"] = utxos and listHeld(utxos, spends)', ""
    ),
    "a refused attempt takes its spends back": _worker(
        spend.Spend, "releasing", lambda self, retention, life: self.undoing(retention)
    ),
    "a refused attempt gives back only what it applied": _worker(
        one_transaction, "_give_back", _gives_back_what_it_applied
    ),
    "a refused attempt gives back twice": _worker(one_transaction, "_give_back", _gives_back_twice),
    "a refused attempt gives back what is in doubt": _worker(spend, "_try", _tries_and_believes),
    "a refusal does not tell what stands": _worker(one_transaction, "_held", lambda *_: []),
    "a refused attempt gives nothing back": _worker(
        one_transaction, "_give_back", lambda *_: one_transaction._Returned(set(), {})
    ),
}

# ---- counters and locks

_owe = children.owe_what_follows


def _owes_only_news(work: Work, record: bytes, answer: Answer, height: int, **_: Any) -> None:
    _owe(work, record, answer, height)


def _owes_nothing_for_taking_back(work: Work, record: bytes, answer: Answer, height: int, **rest: Any) -> None:
    if answer.signal != "NOTALLSPENT":
        _owe(work, record, answer, height, **rest)


def _writes_dah_once(work: Work, txid: bytes, count: int) -> Any:
    dah, error = children._master_dah(work, txid)
    return error or children._first_error(work, [children.dah_write(txid, n, dah) for n in range(1, count + 1)])


COUNTERS: Final = {
    "the last note counts": _rule("if not isKnown or isNewer(seq, before) then", "if seq % SEQ_MODULUS ~= before then"),
    "a child's state does not count when it is taken back": _rule(
        "if (seq % 2 == 1) ~= isAllSpent then", "if isAllSpent and seq % 2 == 0 then"
    ),
    "what is known goes on where it can't be right": _rule(
        "return forgetStates(rec, result, parsed, totalExtraRecs, currentBlockHeight, blockHeightRetention)",
        "return result",
    ),
    "locks take effect in any order": _rule('if lockSeq <= (rec["lockSeq"] or 0) then', "if false then"),
    "a lock is not numbered": _rule(
        'result["lockSeq"] = raiseLockSeq(rec)', 'rec["lockSeq"] = 1\n        result["lockSeq"] = 1'
    ),
    "a lock keeps the delete-at-height": _rule(
        'isMaster and dahSignal(rec, false)\n        rec["deleteAtHeight"] = nil', "isMaster and dahSignal(rec, false)"
    ),
    "what was done already is not noted again": _worker(spend, "owe_what_follows", _owes_only_news),
    "taking back is not noted": _worker(spend, "owe_what_follows", _owes_nothing_for_taking_back),
    "a recount is not done": _worker(children, "note_children", lambda work, txid, answer, height: (None, None)),
    "the children's delete-at-height is written once": _worker(children, "set_children_dah", _writes_dah_once),
}

# ---- creations

_finish, _write_children = create_locked._finish, create_locked._write_children


def _finishes_the_master_first(work: Work, whole: Any, *rest: Any) -> None:
    work.operate([Write(one.source.txid, {"creating": None}, Mode.UPDATE) for one in whole])
    _finish(work, whole, *rest)


def _never_replaces(work: Work, ones: Any, errors: Any, *, replace: bool) -> Any:
    return _write_children(work, ones, errors, replace=False)


CREATIONS: Final = {
    "the master's mark comes off first": _worker(create_locked, "_finish", _finishes_the_master_first),
    "what is begun is not finished": _worker(
        create_locked, "_complete_children", lambda work, begun, errors: []
    ),
    "only the children are finished that the second one knows": _worker(
        create_locked, "_as_begun", lambda one, master: one
    ),
    "what a dead creator left is kept": _worker(create_locked, "_write_children", _never_replaces),
    "nobody takes the lock": _worker(create_locked, "_take_locks", lambda work, ones, token, errors: ones),
}

MUTANTS: Final[dict[str, dict[str, Mutant]]] = {"coins": COINS, "counters": COUNTERS, "creations": CREATIONS}
