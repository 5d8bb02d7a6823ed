"""spend: outputs are marked as spent by a transaction.

Item: see spending/parsed_spend.py. Result true where it was applied now, false where it was this spender's before.

How spends are tried: spending/calls.py. Those of a request that is marked as one transaction are all applied or none:
spending/one_transaction.py; in a store whose batches are one whole they are a group of their own.
"""

from protocol.wire import ONE_TRANSACTION, Error
from store.layout import TXID_BYTES
from workers.runtime.batch import Request
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import BadItem
from workers.runtime.spending.calls import try_spends
from workers.runtime.spending.missing_records import explain_missing_records
from workers.runtime.spending.one_transaction import roll_back_failed
from workers.runtime.spending.parsed_spend import ParsedSpend, parse_spends


def run(context: DispatchContext) -> None:
    batch = context.batch
    spends, errors = parse_spends(context)
    transactions = [request for request in batch.requests if request.flags & ONE_TRANSACTION and request.error is None]
    for group, request in enumerate(transactions):
        _withhold_unless_whole(request, spends, errors)
        if context.store.is_atomic:
            for index in request.indices:
                if index in spends:
                    spends[index].group = group
    outcomes = try_spends(context, list(spends.values()), errors)
    explain_missing_records(context, spends, errors)
    errors |= roll_back_failed(context, transactions, spends, errors, outcomes)
    for index in batch.uncompleted():
        batch.complete_unless(errors.get(index), index, index in outcomes.applied)


def _withhold_unless_whole(request: Request, spends: dict[int, ParsedSpend], errors: dict[int, Error]) -> None:
    """A transaction with an item that can't be tried is not begun."""
    indices = request.indices
    if len({spends[index].spending_data[:TXID_BYTES] for index in indices if index in spends}) > 1:
        errors[request.start] = BadItem("spending txid: not the same for all spends of one transaction").error
    if any(index in errors for index in indices):
        for index in indices:
            spends.pop(index, None)
