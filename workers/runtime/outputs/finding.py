"""Finds outputs, of many transactions at once, and checks what is found (P15): against the utxo hash in the record that
the output lives in; an output that is no UTXO against its transaction's id, where that is known as a whole.

A blob or a child record that is missing is a fault, never "there is no such output". Nothing is written: a dispatch
that fails here has executed nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from protocol import codes
from protocol.codes import NO
from protocol.hashing import utxo_hash
from protocol.wire import Error
from store import Read, Result, Status
from store.layout import UTXO_BYTES, locate
from store.transaction import Output, read_output
from workers.runtime.context import DispatchContext
from workers.runtime.store_errors import error_of_record, error_of_unreadable

from .whole_transactions import UNREADABLE, Damaged, WholeTransactions

Outpoint = tuple[bytes, int]

_MASTER_BINS: Final = ("external", "outputs", "utxos", "reassigned", "totalUtxos", "creating", "version")
_CHILD_BINS: Final = ("utxos", "reassigned")


class FoundOutput(Struct, frozen=True, gc=False):
    """output: as it is now. utxo: as its record keeps it, the hash and where somebody has it the spending data; None
    where the output is no UTXO. master, home: bins of the transaction's master, and of the record that the output lives
    in, which may be the master."""

    output: Output
    utxo: bytes | None
    master: Mapping[str, Any]
    home: Mapping[str, Any]


def find_outputs(
    context: DispatchContext, outpoints: Iterable[Outpoint], more_bins: Sequence[str] = ()
) -> dict[Outpoint, FoundOutput | Error]:
    """One store read per distinct record. outpoints: txid (32 bytes, wire order) and vout of each, any number of times.
    more_bins: to be read of master and home, beside those that finding takes.

    An error is TX_NOT_FOUND, UTXO_NOT_FOUND (the transaction has no such output, or nobody has told of it), CREATING
    where the output's record is not written yet, or a fault. Raises StoreError, where nothing was executed."""
    places = {(txid, vout): locate(txid, vout, context.store.utxo_batch_size) for txid, vout in outpoints}
    masters = _read(context, [txid for txid, _ in places], (*_MASTER_BINS, *more_bins))
    children = _read(
        context,
        [record for (txid, vout), (record, _) in places.items() if record != txid and _has_output(masters[txid], vout)],
        (*_CHILD_BINS, *more_bins),
    )
    wholes = WholeTransactions(context)
    found: dict[Outpoint, FoundOutput | Error] = {}
    for outpoint, (record, offset) in sorted(places.items()):  # those of one transaction together
        master = masters[outpoint[0]]
        try:
            found[outpoint] = _find(context, outpoint, offset, master, children.get(record, master), wholes)
        except Damaged as damage:
            found[outpoint] = Error(codes.STORE_ERROR, NO, f"output {outpoint[1]}: {damage}")
    return found


def _read(context: DispatchContext, keys: Sequence[bytes], bins: Sequence[str]) -> Mapping[bytes, Result]:
    distinct = list(dict.fromkeys(keys))
    return dict(zip(distinct, context.read([Read(key, bins) for key in distinct]), strict=True))


def _has_output(master: Result, vout: int) -> bool:
    """Not where the record can't be read, which `_find` tells."""
    total = master.value.get("totalUtxos") if type(master.value) is dict else None
    return master.status is Status.OK and type(total) is int and vout < total


def _find(
    context: DispatchContext, outpoint: Outpoint, offset: int, master: Result, home: Result, wholes: WholeTransactions
) -> FoundOutput | Error:
    """offset: of the output in `home`. Raises Damaged."""
    if master.status is not Status.OK:
        return error_of_record(master, "record")
    if type(master.value) is not dict or type(master.value.get("totalUtxos")) is not int:
        return error_of_unreadable("record", "it does not tell how many outputs there are")
    if outpoint[1] >= master.value["totalUtxos"]:
        return _not_here(outpoint)
    if home.status is Status.NOT_FOUND:
        if master.value.get("creating"):
            return Error(codes.CREATING, NO, "the transaction is still being created")
        raise Damaged("its child record is missing")
    if home.status is not Status.OK:
        return error_of_record(home, "child record")
    if type(home.value) is not dict:
        return error_of_unreadable("child record", "it is no map")
    try:
        utxo = home.value["utxos"][offset]
        moved = (home.value.get("reassigned") or {}).get(offset)
        output = _output(context, outpoint, utxo, moved, master.value, wholes)
    except UNREADABLE as error:
        raise Damaged(str(error)) from error
    return _not_here(outpoint) if output is None else FoundOutput(output, utxo, master.value, home.value)


def _not_here(outpoint: Outpoint) -> Error:
    return Error(codes.UTXO_NOT_FOUND, NO, f"the transaction has no output {outpoint[1]} that is known")


def _output(
    context: DispatchContext,
    outpoint: Outpoint,
    utxo: bytes | None,
    moved: Sequence[Any] | None,
    master: dict[str, Any],
    wholes: WholeTransactions,
) -> Output | None:
    """None where nobody has told of it. moved: its value and script, where it was reassigned. Raises Damaged, and what
    reading damage does."""
    txid, vout = outpoint
    if utxo is None and "version" in master:  # it has no hash of its own
        return wholes.get(txid, master).outputs[vout]
    output = Output(*moved) if moved else _stored(context, outpoint, master)
    hashed = output and utxo_hash(txid, vout, output.locking_script, output.satoshis)
    if utxo is not None and hashed != utxo[:UTXO_BYTES]:
        raise Damaged("what the store has is another than its utxo hash says")
    return output


def _stored(context: DispatchContext, outpoint: Outpoint, master: dict[str, Any]) -> Output | None:
    """As it was created."""
    txid, vout = outpoint
    if master.get("external"):
        context.check_budget()
        with context.store_time():
            return context.store.blobs.output(txid, vout)
    packed = master["outputs"][vout]
    return None if packed is None else read_output(packed, 0)[0]
