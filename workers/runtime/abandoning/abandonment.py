"""One item of `abandon`, and what its spender holds.

Absence is told apart: an outpoint whose transaction is not in the set, or has no such output, is held by nobody; where
a record is missing that its master says there is, or can't be read, nobody knows, and the item fails.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

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

Place = tuple[int, int]  # an item's index, and the place of an outpoint in it

# Of an outpoint: nobody holds it, or another does.
NOT_HELD: Final = frozenset(
    {codes.TX_NOT_FOUND, codes.UTXO_NOT_FOUND, codes.UTXO_HASH_MISMATCH, codes.SPENT, codes.FROZEN}
)
_BINS: Final = ("utxos", "joined", "deletedChildren")
_AT_ONCE: Final = 1000  # records: each is read with all of its outputs


class HeldOutput(NamedTuple):
    """life: of the output, in which the spender was found to hold it."""

    spend: ParsedSpend
    life: int


class Abandonment(Struct, gc=False):
    """item_index: its place in the batch. held: what the spender holds, by the outpoint's place in the item.
    given_back: the places of those that it holds no longer because of this dispatch."""

    item_index: int
    spender: bytes
    outpoints: Sequence[tuple[bytes, int]]
    height: int
    held: dict[int, HeldOutput]
    given_back: set[int]

    @property
    def result(self) -> list[bool]:
        return [place in self.given_back for place in range(len(self.outpoints))]

    @property
    def open(self) -> list[int]:
        """The places of those that were not given back."""
        return [place for place in range(len(self.outpoints)) if place not in self.given_back]

    def error(self, faults: Iterable[Error], places: Iterable[int]) -> Error:
        """The item's, where it was not done. places: of the outpoints that may still stand."""
        known = list(faults)
        fault = next((fault for fault in known if fault.executed == UNKNOWN), known[0])
        if fault.executed == NO and not self.given_back:
            return fault
        left = dict.fromkeys((txid, vout) for txid, vout in (self.outpoints[place] for place in places))
        return fault._replace(executed=UNKNOWN, details={"outpoints": [list(outpoint) for outpoint in left]})


def find_held(context: DispatchContext, going: Sequence[Abandonment]) -> list[Abandonment]:
    """Fills in what the spenders hold now. Returns those of which it is known; the others' items are failed."""
    size = context.store.utxo_batch_size
    outputs = {(one.item_index, place): place_of(*one.outpoints[place], size) for one in going for place in one.open}
    by_record: dict[bytes, list[Place]] = {}
    for key, output in outputs.items():
        by_record.setdefault(output.record, []).append(key)
    by_index = {one.item_index: one for one in going}
    for one in going:
        one.held.clear()
    errors: dict[Place, Error] = {}
    records = list(by_record)
    for first in range(0, len(records), _AT_ONCE):
        some = records[first : first + _AT_ONCE]
        for record, result in zip(some, context.try_operate([Read(record, _BINS) for record in some]), strict=True):
            for index, place in by_record[record]:
                found = _find(context, result, outputs[index, place], by_index[index])
                if isinstance(found, Error):
                    errors[index, place] = found
                elif found is not None:
                    by_index[index].held[place] = found
    faults = faults_of_items(context, outputs, errors)
    for index, own in faults.items():
        context.batch.fail(index, by_index[index].error(own.values(), by_index[index].open))
    return [one for one in going if one.item_index not in faults]


def faults_of_items(
    context: DispatchContext, outputs: Mapping[Place, OutputPlace | ParsedSpend], errors: dict[Place, Error]
) -> dict[int, dict[int, Error]]:
    """By item index and place, the errors that do not just say that the spender does not hold an output."""
    explain_missing_records(context, outputs, errors)
    faults: dict[int, dict[int, Error]] = {}
    for (index, place), error in errors.items():
        if error.code not in NOT_HELD:
            faults.setdefault(index, {})[place] = error
    return faults


def _find(
    context: DispatchContext, result: Result, output: OutputPlace, abandonment: Abandonment
) -> HeldOutput | Error | None:
    """None: the spender does not hold it. result: of reading the output's record."""
    if result.status is not Status.OK:
        return error_of_record(result, "record")
    bins: Any = result.value if type(result.value) is dict else {}
    utxos, pruned, joined = bins.get("utxos"), bins.get("deletedChildren") or {}, bins.get("joined") or {}
    if type(utxos) is not list or type(pruned) is not dict or type(joined) is not dict:
        return error_of_unreadable("record", "it does not tell who spends its outputs")
    if abandonment.spender[::-1].hex() in pruned:
        return Error(codes.INVALID_SPEND, NO, "the spending transaction was pruned")
    utxo = utxos[output.offset] if output.offset < len(utxos) else None
    if type(utxo) is not bytes or len(utxo) != SPENT_UTXO_BYTES:
        return None
    utxo_hash, data = utxo[:UTXO_BYTES], utxo[UTXO_BYTES:]
    if not data.startswith(abandonment.spender) or data == FROZEN:
        return None
    life = _life(joined.get(output.offset))
    if life is None:
        return error_of_unreadable("record", "it does not tell the lives of its outputs")
    index, height = abandonment.item_index, abandonment.height
    group = index if context.store.is_atomic else None
    return HeldOutput(ParsedSpend(index, *output, utxo_hash, data, height, 0, group), life)


def _life(joined: object) -> int | None:
    """None where it can't be read. joined: what the record notes of an output."""
    if joined is None:
        return 0
    life = joined[0] if isinstance(joined, list | tuple) and joined else None
    return life if type(life) is int else None
