"""outpoint: what an output is worth and who may spend it, spent or not.

Item [txid, vout]; result [satoshis, locking script]. One store read per distinct record of the batch.

What is given is checked (P15): against the utxo hash in the record that the output lives in; an output that is no UTXO
against its transaction's id, where that is known as a whole. A blob or a child record that is missing is a fault,
never "there is no such output".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import codes
from protocol.codes import NO
from protocol.hashing import utxo_hash
from protocol.wire import Error
from store import Read, Result, Status
from store.layout import UTXO_BYTES, locate, raw_transaction
from store.transaction import Output, Transaction, parse_transaction, read_output
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, txid_field, uint_field
from workers.runtime.store_errors import error_of_record, error_of_unreadable

SHAPE: Final = Shape(txid_field(), uint_field("vout"))

_MASTER_BINS: Final = ("external", "outputs", "utxos", "reassigned", "totalUtxos", "creating", "version")
_CHILD_BINS: Final = ("utxos", "reassigned")
_WHOLE_BINS: Final = ("version", "locktime", "extendedSize", "inputs", "outputs")


class _Outpoint(NamedTuple):
    """record, offset: where the output's hash is."""

    txid: bytes
    vout: int
    record: bytes
    offset: int


class _Damaged(Exception):
    """What the store has is not the output that was created, or can't be read."""


def run(context: DispatchContext) -> None:
    batch = context.batch
    outpoints = batch.parse(lambda item: _locate(item, context.store.utxo_batch_size))
    masters = _read(context, [outpoint.txid for outpoint in outpoints.values()], _MASTER_BINS)
    in_children = [outpoint.record for outpoint in outpoints.values() if _lives_in_child(outpoint, masters)]
    children = _read(context, in_children, _CHILD_BINS)
    wholes = _Wholes(context)
    for index, outpoint in outpoints.items():
        master = masters[outpoint.txid]
        try:
            found = _read_output(context, outpoint, master, children.get(outpoint.record, master), wholes)
        except _Damaged as damage:
            found = Error(codes.STORE_ERROR, NO, f"output {outpoint.vout}: {damage}")
        if isinstance(found, Error):
            batch.fail(index, found)
        else:
            batch.complete(index, [found.satoshis, found.locking_script])


def _locate(item: Sequence[Any], utxo_batch_size: int) -> _Outpoint:
    txid, vout = item
    record, offset = locate(txid, vout, utxo_batch_size)
    return _Outpoint(txid, vout, record, offset)


class _Wholes:
    """Whole transactions, each read and checked once in a dispatch."""

    def __init__(self, context: DispatchContext) -> None:
        self._context = context
        self._known: dict[bytes, Transaction] = {}

    def get(self, txid: bytes, master: dict[str, Any]) -> Transaction:
        """Raises _Damaged, ValueError, OSError."""
        if txid not in self._known:
            self._context.check_budget()
            if master.get("external"):
                raw = self._context.store.blobs.get(txid)
            else:
                (result,) = self._context.operate([Read(txid, _WHOLE_BINS)])
                raw = raw_transaction(result.value)
            whole = None if raw is None else parse_transaction(raw)
            if whole is None or whole.txid != txid:
                raise _Damaged("what the store has is not this transaction")
            self._known[txid] = whole
        return self._known[txid]


def _read(context: DispatchContext, keys: Sequence[bytes], bins: Sequence[str]) -> Mapping[bytes, Result]:
    distinct = list(dict.fromkeys(keys))
    return dict(zip(distinct, context.operate([Read(key, bins) for key in distinct]), strict=True))


def _lives_in_child(outpoint: _Outpoint, masters: Mapping[bytes, Result]) -> bool:
    master = masters[outpoint.txid]
    return outpoint.record != outpoint.txid and master.status is Status.OK and outpoint.vout < _total(master.value)


def _total(master: Any) -> int:
    """How many outputs the transaction has; none where the record can't be read, which `_read_output` tells."""
    total = master.get("totalUtxos") if type(master) is dict else None
    return total if type(total) is int else 0


def _read_output(
    context: DispatchContext, outpoint: _Outpoint, master: Result, home: Result, wholes: _Wholes
) -> Output | Error:
    """home: the record that the output lives in. Raises _Damaged."""
    if master.status is not Status.OK:
        return error_of_record(master, "record")
    if type(master.value) is not dict or type(master.value.get("totalUtxos")) is not int:
        return error_of_unreadable("record", "it does not tell how many outputs there are")
    if outpoint.vout >= _total(master.value):
        return _not_here(outpoint)
    if home.status is Status.NOT_FOUND:
        if master.value.get("creating"):
            return Error(codes.CREATING, NO, "the transaction is still being created")
        raise _Damaged("its child record is missing")
    if home.status is not Status.OK:
        return error_of_record(home, "child record")
    if type(home.value) is not dict:
        return error_of_unreadable("child record", "it is no map")
    try:
        output = _find_output(context, outpoint, master.value, home.value, wholes)
    except (ValueError, TypeError, AttributeError, LookupError, OSError) as error:
        raise _Damaged(str(error)) from error
    return _not_here(outpoint) if output is None else output


def _not_here(outpoint: _Outpoint) -> Error:
    return Error(codes.UTXO_NOT_FOUND, NO, f"the transaction has no output {outpoint.vout}, or not here")


def _find_output(
    context: DispatchContext, outpoint: _Outpoint, master: dict[str, Any], home: dict[str, Any], wholes: _Wholes
) -> Output | None:
    """None where nobody has told of it. Raises _Damaged, and what reading damage does."""
    utxo = home["utxos"][outpoint.offset]
    if utxo is None and "version" in master:  # it has no hash of its own
        return wholes.get(outpoint.txid, master).outputs[outpoint.vout]
    moved = (home.get("reassigned") or {}).get(outpoint.offset)
    output = Output(*moved) if moved else _stored(context, outpoint, master)
    hashed = output and utxo_hash(outpoint.txid, outpoint.vout, output.locking_script, output.satoshis)
    if utxo is not None and hashed != utxo[:UTXO_BYTES]:
        raise _Damaged("what the store has is another than its utxo hash says")
    return output


def _stored(context: DispatchContext, outpoint: _Outpoint, master: dict[str, Any]) -> Output | None:
    """As it was created."""
    if master.get("external"):
        context.check_budget()
        return context.store.blobs.output(outpoint.txid, outpoint.vout)
    packed = master["outputs"][outpoint.vout]
    return None if packed is None else read_output(packed, 0)[0]
