"""What came of transactions whose spends and creations were tried: some are there, by this attempt or by another one;
of the others this attempt gives back what it has, and each gets its one error."""

from collections.abc import Sequence
from typing import Any

from protocol import codes
from protocol.codes import UNKNOWN
from protocol.wire import Error
from workers.runtime.context import DispatchContext
from workers.runtime.creation.candidate import only_partial_error, vanished_error
from workers.runtime.creation.found import look_up
from workers.runtime.spending.giving_back import Failure, give_back_failed
from workers.runtime.spending.missing_records import explain_missing_records
from workers.runtime.spending.outcomes import SpendOutcomes

from .acceptance import Acceptance


def settle(
    context: DispatchContext, acceptances: Sequence[Acceptance], errors: dict[int, Error], outcomes: SpendOutcomes
) -> None:
    """Sets `found` or `error` of each that was not created. errors: of parts, by their numbers."""
    if not errors:
        return
    _look_at_those_that_exist(context, acceptances, errors)
    spends = {spend.item_index: spend for acceptance in acceptances for spend in acceptance.spends}
    explain_missing_records(context, spends, errors)
    transactions = [acceptance.parts for acceptance in acceptances]
    failures = give_back_failed(context, transactions, spends, errors, outcomes)
    for acceptance in acceptances:
        if acceptance.parts in failures:
            _fail(acceptance, failures[acceptance.parts], outcomes)


def _look_at_those_that_exist(
    context: DispatchContext, acceptances: Sequence[Acceptance], errors: dict[int, Error]
) -> None:
    """Another attempt has created it: that is a success, and nothing is given back, unless it is there as conflicting,
    which spends nothing. But what stands at its key may be the mark of one that is being abandoned."""
    there = [each for each in acceptances if each.creation in errors and errors[each.creation].code == codes.TX_EXISTS]
    seen = look_up(context, [acceptance.txid for acceptance in there])
    for acceptance in there:
        master = seen[acceptance.txid]
        if master is None:
            errors[acceptance.creation] = vanished_error()
        elif isinstance(master, Error):
            is_certain = master.code == codes.ABANDONED
            errors[acceptance.creation] = master if is_certain else master._replace(executed=UNKNOWN)
        elif master.is_partial:
            errors[acceptance.creation] = only_partial_error()
        else:
            acceptance.found = master
            if not master.conflicting:
                acceptance.is_begun = not context.store.is_atomic  # there the store has put all of it back
                for part in acceptance.parts:
                    errors.pop(part, None)


def _fail(acceptance: Acceptance, failure: Failure, outcomes: SpendOutcomes) -> None:
    error = failure.error
    if error.executed == UNKNOWN:
        acceptance.error = error._replace(details={"outpoints": failure.left})
        return
    acceptance.is_begun = False
    if acceptance.found is not None:  # it is there, and this attempt's spends are given back
        return
    details: dict[str, Any] = {name: value for name, value in error.details.items() if name != "held"}
    unseen = failure.unseen
    if failure.part == acceptance.creation:  # it may have been refused before the spends were tried
        unseen = [list(spend.outpoint) for spend in acceptance.spends if spend.item_index not in outcomes.lives]
    else:
        vin = failure.part - acceptance.parts.start
        details |= {"vin": vin, "outpoint": list(acceptance.outpoints[vin])}
    lists = ("held", failure.left), ("unseen", unseen)
    acceptance.error = error._replace(details=details | {name: listed for name, listed in lists if listed})
