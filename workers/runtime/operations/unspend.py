"""unspend: undoes what a spender holds, unless the spender is mined on the longest chain, or was pruned.

Item: see spending/parsed_spend.py. Result true where it was undone now, false where the output was unspent; SPENT where
another has it. The spenders are read first, in the same dispatch: one that is mined afterwards is as one that was mined
after the answer.
"""

from collections.abc import Mapping

from protocol.wire import Error
from store import Read
from store.layout import TXID_BYTES
from workers.runtime.context import DispatchContext
from workers.runtime.spending.mined_spender import MINED_BINS, refuse_mined
from workers.runtime.spending.missing_records import explain_missing_records
from workers.runtime.spending.parsed_spend import ParsedSpend, parse_spends
from workers.runtime.spending.taking_back import owe_taken_back, read_taken_back


def run(context: DispatchContext) -> None:
    batch = context.batch
    parsed, errors = parse_spends(context)
    errors |= _refuse_mined(context, parsed)
    spends = {index: spend for index, spend in parsed.items() if index not in errors}
    results = context.operate([spend.unspend_call(context.retention) for spend in spends.values()])
    undone: set[int] = set()
    for (index, spend), result in zip(spends.items(), results, strict=True):
        answer = read_taken_back(result)
        if answer.error is not None:
            errors[index] = answer.error
            continue
        owe_taken_back(context, spend, answer)
        if answer.applied:
            undone.add(index)
    explain_missing_records(context, spends, errors)
    for index in batch.uncompleted():
        batch.complete_unless(errors.get(index), index, index in undone)


def _refuse_mined(context: DispatchContext, spends: Mapping[int, ParsedSpend]) -> dict[int, Error]:
    """By item: that its spender is mined on the longest chain, or why nobody knows. One that is not there is not."""
    spenders = {index: spend.spending_data[:TXID_BYTES] for index, spend in spends.items()}
    distinct = list(dict.fromkeys(spenders.values()))
    results = context.read([Read(spender, MINED_BINS) for spender in distinct])
    refusals = {spender: refuse_mined(result) for spender, result in zip(distinct, results, strict=True)}
    found = {index: refusals[spender] for index, spender in spenders.items()}
    return {index: refusal for index, refusal in found.items() if refusal is not None}
