"""Transactions are accepted in a store that takes record by record: level by level, parents first, the spends of a
level in one batch, and then the creations of those that have all of theirs. What has not is refused, and gives back."""

from collections.abc import Sequence

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
        errors: dict[int, Error] = {}
        outcomes = _spend(context, level, errors)
        good = [acceptance for acceptance in level if not acceptance.failed(errors)]
        candidates = [acceptance.candidate for acceptance in good if acceptance.candidate is not None]
        errors |= create_at_once(context, [candidate for candidate in candidates if not candidate.children])
        errors |= create_under_lock(context, [candidate for candidate in candidates if candidate.children])
        settle(context, level, errors, outcomes)


def _spend(context: DispatchContext, level: Sequence[Acceptance], errors: dict[int, Error]) -> SpendOutcomes:
    spends = [spend for acceptance in level for spend in acceptance.spends]
    try:
        return try_spends(context, spends, errors)
    except StoreError as error:
        fault = error_of_batch(error, UNKNOWN if error.in_doubt else NO)
        errors |= {spend.item_index: fault for spend in spends}
        return SpendOutcomes(set(), {}, set())
