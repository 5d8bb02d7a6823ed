"""One item of `abandon`, and what its spender holds.

Absence is told apart: an outpoint whose transaction is not in the set, or has no such output, is held by nobody; where
a record is missing that its master says there is, or can't be read, nobody knows, and the item fails.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import Read, Result, Status
from store.layout import FROZEN, SPENT_UTXO_BYTES, UTXO_BYTES
from workers.runtime.context import DispatchContext
from workers.runtime.spending.missing_records import explain_missing_records
from workers.runtime.spending.output_place import OutputPlace, place_of
from workers.runtime.spending.parsed_spend import ParsedSpend
from workers.runtime.store_errors import error_of_record, error_of_unreadable

Outpoint = tuple[bytes, int]

# Of an outpoint: nobody holds it, or another does.
NOT_HELD: Final = frozenset(
    {codes.TX_NOT_FOUND, codes.UTXO_NOT_FOUND, codes.UTXO_HASH_MISMATCH, codes.SPENT, codes.FROZEN}
)


class Abandonment(Struct, gc=False):
    """item_index: its place in the batch. held: what the spender holds, by the outpoint's place in the item.
    given_back: the places of those that it holds no longer because of this dispatch."""

    item_index: int
    spender: bytes
    outpoints: list[Outpoint]
    height: int
    held: dict[int, ParsedSpend]
    given_back: set[int]

    @property
    def result(self) -> list[bool]:
        return [place in self.given_back for place in range(len(self.outpoints))]

    def unknown(self, error: Error, places: Iterable[int]) -> Error:
        """The item's error where not all of it was done. places: of the outpoints that may still stand."""
        left = dict.fromkeys(self.outpoints[place] for place in places)
        return error._replace(executed=UNKNOWN, details={"outpoints": [list(outpoint) for outpoint in left]})


def find_held(context: DispatchContext, abandonments: Mapping[int, Abandonment]) -> dict[int, Error]:
    """Fills in what the spenders hold now. Returns, by item, why it comes to nothing."""
    size = context.store.utxo_batch_size
    outputs = {
        (index, place): place_of(*outpoint, size)
        for index, abandonment in abandonments.items()
        for place, outpoint in enumerate(abandonment.outpoints)
    }
    records = list(dict.fromkeys(output.record for output in outputs.values()))
    results = context.read([Read(record, ("utxos", "deletedChildren")) for record in records])
    found = dict(zip(records, results, strict=True))
    errors: dict[tuple[int, int], Error] = {}
    for (index, place), output in outputs.items():
        abandonment = abandonments[index]
        abandonment.held.pop(place, None)
        spent = _spent(found[output.record], output, abandonment.spender)
        if isinstance(spent, Error):
            errors[index, place] = spent
        elif spent is not None:
            utxo_hash, data = spent
            group = index if context.store.is_atomic else None
            abandonment.held[place] = ParsedSpend(index, *output, utxo_hash, data, abandonment.height, 0, group)
    return first_faults(context, outputs, errors)


def first_faults(
    context: DispatchContext,
    outputs: Mapping[tuple[int, int], OutputPlace | ParsedSpend],
    errors: dict[tuple[int, int], Error],
) -> dict[int, Error]:
    """Of each item the first error that does not just say that the spender does not hold an output."""
    explain_missing_records(context, outputs, errors)
    faults: dict[int, Error] = {}
    for (index, _), error in errors.items():
        if error.code not in NOT_HELD:
            faults.setdefault(index, error)
    return faults


def _spent(result: Result, output: OutputPlace, spender: bytes) -> tuple[bytes, bytes] | Error | None:
    """The output's hash and its spending data, where they are this spender's; None: it does not hold it."""
    if result.status is not Status.OK:
        return error_of_record(result, "record")
    bins: Any = result.value
    utxos, pruned = (bins.get("utxos"), bins.get("deletedChildren")) if type(bins) is dict else (None, None)
    if type(utxos) is not list or not isinstance(pruned, dict | None):
        return error_of_unreadable("record", "it does not tell who spends its outputs")
    if pruned and spender[::-1].hex() in pruned:
        return Error(codes.INVALID_SPEND, NO, "the spending transaction was pruned")
    utxo = utxos[output.offset] if output.offset < len(utxos) else None
    if type(utxo) is not bytes or len(utxo) != SPENT_UTXO_BYTES:
        return None
    utxo_hash, data = utxo[:UTXO_BYTES], utxo[UTXO_BYTES:]
    return (utxo_hash, data) if data.startswith(spender) and data != FROZEN else None
