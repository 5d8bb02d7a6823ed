"""Transactions are accepted in a store that takes record by record: level by level, parents first. The spends of a
level are one batch; who has not all of its own is refused, and gives back what it has; then come the others' creations.

Where one was refused because of another one here, which has given back what it had, it is tried again: of rivals in a
batch one wins, as it does where each of them is one whole. Where none has won, as each has kept another one out, they
are tried one by one.
"""

from collections.abc import Sequence

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import StoreError
from workers.runtime.context import DispatchContext
from workers.runtime.creation.at_once import create_at_once
from workers.runtime.creation.under_lock import create_under_lock
from workers.runtime.spending.calls import try_spends
from workers.runtime.spending.outcomes import SpendOutcomes
from workers.runtime.store_errors import error_of_batch

from .acceptance import Acceptance
from .order import by_depth
from .settling import settle


def accept_by_levels(context: DispatchContext, acceptances: Sequence[Acceptance]) -> None:
    """Sets `found` or `error` of each that is not created. Of a level that is not begun, because the time is up,
    nothing is executed."""
    for level in by_depth(acceptances):
        waiting: Sequence[Acceptance] = level
        while waiting:
            _try(context, waiting)
            again = _refused_for_nothing(waiting)
            for acceptance in again:
                acceptance.error = None
            if len(again) == len(waiting):
                for acceptance in again:
                    _try(context, [acceptance])
                break
            waiting = again


def _try(context: DispatchContext, waiting: Sequence[Acceptance]) -> None:
    errors: dict[int, Error] = {}
    for acceptance in waiting:
        acceptance.is_begun = True
    outcomes = _spend(context, waiting, errors)
    refused = [acceptance for acceptance in waiting if acceptance.is_refused(errors)]
    good = [acceptance for acceptance in waiting if not acceptance.is_refused(errors)]
    settle(context, refused, errors, outcomes)
    candidates = [acceptance.candidate for acceptance in good if acceptance.candidate is not None]
    errors = create_at_once(context, [candidate for candidate in candidates if not candidate.children])
    errors |= create_under_lock(context, [candidate for candidate in candidates if candidate.children])
    settle(context, good, errors, outcomes)
    for acceptance in good:
        acceptance.end_creation()


def _spend(context: DispatchContext, waiting: Sequence[Acceptance], errors: dict[int, Error]) -> SpendOutcomes:
    spends = [spend for acceptance in waiting for spend in acceptance.spends]
    try:
        return try_spends(context, spends, errors)
    except StoreError as error:
        fault = error_of_batch(error, UNKNOWN if error.in_doubt else NO)
        errors |= {spend.item_index: fault for spend in spends}
        return SpendOutcomes(set(), {}, set())


def _refused_for_nothing(tried: Sequence[Acceptance]) -> list[Acceptance]:
    """Those that met a spend of another one here that has been given back since."""
    gone = {acceptance.txid for acceptance in tried if acceptance.error is not None and acceptance.error.executed == NO}
    return [
        acceptance
        for acceptance in tried
        if acceptance.error is not None
        and acceptance.error.code == codes.SPENT
        and acceptance.error.executed == NO
        and acceptance.error.details.get("spending_txid") in gone
    ]
