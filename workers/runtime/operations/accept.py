"""accept: a transaction comes into the set, with all of its spends, or not at all.

Item [raw, block height, mined, flags]; mined as create's: blocks of the longest chain. Result: a map with txID, created
(by this request; false: it was there), conflicting (as it is in the set), isCoinbase, sizeInBytes, totalUtxos, records,
and fee where it is known.

Its own record is read first. Where there is one it was accepted before, and asking again says so: accepting/there.py.
Else come the outputs that it spends (accepting/inputs.py), the spends, and then the creation: as one whole
(accepting/at_once.py), or one after the other (accepting/by_levels.py), where the rule of P12 says what a refused
attempt gives back. One that is to be conflicting spends nothing, and is noted in its parents.

A transaction may spend outputs of others in the batch, whatever their order. Of several items of one transaction the
first is tried, and the others find what it left, or are tried after it.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from protocol import codes
from protocol.codes import NO
from protocol.item_flags import (
    ACCEPT_CONFLICTING,
    ACCEPT_IGNORE_CONFLICTING,
    ACCEPT_IGNORE_LOCKED,
    ACCEPT_LOCKED,
)
from protocol.wire import Error
from store.layout import create_records
from workers.runtime.accepting.acceptance import Acceptance, parse_acceptance
from workers.runtime.accepting.at_once import accept_at_once
from workers.runtime.accepting.by_levels import accept_by_levels
from workers.runtime.accepting.inputs import set_spends
from workers.runtime.accepting.settling import settle
from workers.runtime.accepting.there import complete_there
from workers.runtime.context import DispatchContext
from workers.runtime.creation.candidate import SOON_MS, Candidate, only_partial_error
from workers.runtime.creation.found import look_up, note_in_parents
from workers.runtime.creation.options import MINED, Options
from workers.runtime.item_checks import BadItem
from workers.runtime.item_shape import Shape, binary_field, flags_field, uint_field
from workers.runtime.spending.outcomes import SpendOutcomes
from workers.runtime.store_errors import error_of_exception

log = logging.getLogger("utxod.worker")

SHAPE: Final = Shape(
    binary_field("raw"),
    uint_field("block height"),
    MINED,
    flags_field(ACCEPT_CONFLICTING | ACCEPT_LOCKED | ACCEPT_IGNORE_CONFLICTING | ACCEPT_IGNORE_LOCKED),
)

# Items of one transaction that differ, and are refused for what may not hold for the next one, are tried one after the
# other. So are those that find what the first one of them left.
_MAX_ROUNDS: Final = 4
_DEPENDS_ON_ITEM: Final = frozenset(
    {codes.LOCKED, codes.CONFLICTING, codes.COINBASE_IMMATURE, codes.FROZEN_UNTIL, codes.BAD_REQUEST}
)
_TOO_MANY: Final = Error(codes.OVERLOADED, NO, "transaction: too many different items of it at once", SOON_MS)


def run(context: DispatchContext) -> None:
    waiting = _parse(context)
    options = Options(context)
    for _ in range(_MAX_ROUNDS):
        if not waiting:
            return
        first: dict[bytes, Acceptance] = {}
        try:
            _accept(context, waiting, first, options)
        except Exception as error:  # whatever it was: what is accepted is, and what is begun is named
            log.exception("accept of %d items raised", len(waiting))
            _fail_unfinished(waiting, error)
        waiting = _complete(context, waiting, first)
    for acceptance in waiting:
        acceptance.fail(_TOO_MANY)
    _complete(context, waiting, {})


def _fail_unfinished(acceptances: Iterable[Acceptance], error: Exception) -> None:
    for acceptance in acceptances:
        if acceptance.error is None and not acceptance.is_accepted:
            acceptance.fail(error_of_exception(error, NO))


def _parse(context: DispatchContext) -> list[Acceptance]:
    batch = context.batch
    batch.fail_bad_items()
    acceptances: list[Acceptance] = []
    next_part = 0
    for index, item in batch.good_items():
        context.check_budget()
        try:
            acceptances.append(parse_acceptance(index, item, next_part))
        except BadItem as fault:
            batch.fail(index, fault.error)
        else:
            next_part = acceptances[-1].parts.stop
    return acceptances


def _accept(
    context: DispatchContext, waiting: Sequence[Acceptance], first: dict[bytes, Acceptance], options: Options
) -> None:
    """Those that are there, and of the others the first of each transaction, which is added to `first`."""
    seen = look_up(context, [acceptance.txid for acceptance in waiting])
    for acceptance in waiting:
        master = seen[acceptance.txid]
        if master is None:
            first.setdefault(acceptance.txid, acceptance)
        elif isinstance(master, Error):
            acceptance.fail(master)
        elif master.is_partial:
            acceptance.fail(only_partial_error())
        else:
            acceptance.found = master
    # First these: one whose creation is finished now, or that is unlocked, may be the parent of a fresh one.
    _complete_there(context, [acceptance for acceptance in waiting if acceptance.found is not None], options)
    _accept_fresh(context, list(first.values()), options)
    _complete_there(context, [acceptance for acceptance in first.values() if acceptance.found is not None], options)


def _complete_there(context: DispatchContext, there: Sequence[Acceptance], options: Options) -> None:
    _set_candidates(context, there, options)
    complete_there(context, [acceptance for acceptance in there if acceptance.error is None])


def _accept_fresh(context: DispatchContext, fresh: Sequence[Acceptance], options: Options) -> None:
    """fresh: of different transactions, none of which is there."""
    errors: dict[int, Error] = {}
    outcomes = SpendOutcomes(set(), {}, set())
    set_spends(context, fresh, errors, outcomes)
    settle(context, fresh, errors, outcomes)
    _set_candidates(context, [acceptance for acceptance in fresh if acceptance.error is None], options)
    known = [acceptance for acceptance in fresh if acceptance.error is None]
    (accept_at_once if context.store.is_atomic else accept_by_levels)(context, known)
    _note_conflicting(context, [each for each in known if each.error is None and not each.is_accepted])


def _note_conflicting(context: DispatchContext, tried: Sequence[Acceptance]) -> None:
    created = [acceptance for acceptance in tried if acceptance.found is None]
    errors = note_in_parents(context, [each.candidate for each in created if each.candidate is not None])
    for acceptance in created:
        acceptance.is_accepted = acceptance.creation not in errors
        if not acceptance.is_accepted:
            acceptance.fail(errors[acceptance.creation])


def _set_candidates(context: DispatchContext, acceptances: Iterable[Acceptance], options: Options) -> None:
    """Gives each the records that it is, or would be, created as."""
    for acceptance in acceptances:
        if acceptance.candidate is not None:
            continue
        own = options.of((acceptance.height, acceptance.mined, acceptance.flags))
        context.check_budget()
        try:
            creation = create_records(acceptance.transaction, own)
        except ValueError as error:
            acceptance.fail(BadItem(str(error)).error)
        else:
            acceptance.candidate = Candidate(
                acceptance.creation, acceptance.transaction, acceptance.is_conflicting, creation
            )


def _complete(
    context: DispatchContext, waiting: Sequence[Acceptance], first: Mapping[bytes, Acceptance]
) -> list[Acceptance]:
    """Returns those that were not tried, and may come to something else than the one that was."""
    left = []
    for acceptance in waiting:
        tried = first.get(acceptance.txid, acceptance)
        error = acceptance.error or (tried.error if _holds_for(context, tried, acceptance) else None)
        if error is not None:
            context.batch.fail(acceptance.index, error)
        elif acceptance.is_accepted:
            context.batch.complete(acceptance.index, acceptance.describe())
        else:
            left.append(acceptance)
    return left


def _holds_for(context: DispatchContext, tried: Acceptance, other: Acceptance) -> bool:
    """Whether what `tried` was refused for refuses the other item of its transaction, whatever else that asks."""
    own, others = context.batch.items[tried.index], context.batch.items[other.index]
    if tried.error is None or own == others:
        return tried.error is not None
    is_alike = own[0] == others[0] and tried.is_conflicting == other.is_conflicting
    return is_alike and tried.error.code not in _DEPENDS_ON_ITEM
