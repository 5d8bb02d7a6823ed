"""One call of a rule for each item, on the record of its output: what freeze, unfreeze and reassign do."""

from collections.abc import Callable
from typing import Any, NamedTuple

from protocol.wire import Error
from store import RuleCall, Value
from workers.runtime.context import DispatchContext
from workers.runtime.rule_answer import read_rule_answer

from .missing_records import explain_missing_records
from .output_place import place_of


class OutputCall(NamedTuple):
    """arguments: of the rule, those after the output's offset. result: of the item, where the rule has done it."""

    txid: bytes
    vout: int
    function: str
    arguments: tuple[Value, ...]
    result: Any


def call_on_outputs(context: DispatchContext, parse: Callable[[Any], OutputCall]) -> None:
    """Completes every item of the batch. parse: makes a call of an item; raises BadItem."""
    batch = context.batch
    calls = batch.parse(parse)
    places = {index: place_of(call.txid, call.vout, context.store.utxo_batch_size) for index, call in calls.items()}
    results = context.operate(
        [
            RuleCall(place.record, call.function, (place.offset, *call.arguments))
            for call, place in zip(calls.values(), places.values(), strict=True)
        ]
    )
    errors: dict[int, Error] = {}
    for index, result in zip(calls, results, strict=True):
        error = read_rule_answer(result, "record").error
        if error is not None:
            errors[index] = error
    explain_missing_records(context, places, errors)
    for index, call in calls.items():
        batch.complete_unless(errors.get(index), index, call.result)
