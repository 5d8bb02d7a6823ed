"""outpoint: what an output is worth and who may spend it, spent or not.

Item [txid, vout]; result [satoshis, locking script]. One store read per distinct record of the batch.

What is given is checked (P15): against the utxo hash in the record that the output lives in; an output that is no UTXO
against its transaction's id, where that is known as a whole. A part that is missing, a blob or a child record, is a
fault, never "there is no such output".
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
from workers.runtime.checks import BadItem, check_fields, check_txid, check_uint
from workers.runtime.context import Work, failure, malformed

_MASTER_BINS: Final = ("external", "outputs", "utxos", "reassigned", "totalUtxos", "creating", "version")
_CHILD_BINS: Final = ("utxos", "reassigned")
_WHOLE_BINS: Final = ("version", "locktime", "extendedSize", "inputs", "outputs")


class _Wanted(NamedTuple):
    """One item. record, offset: where the output's hash is."""

    item: int
    txid: bytes
    vout: int
    record: bytes
    offset: int


class _Damaged(Exception):
    """What the store has is not the output that was created, or can't be read."""


def run(work: Work) -> None:
    batch = work.batch
    wanted: list[_Wanted] = []
    for index in batch.open():
        try:
            txid, vout = check_fields(batch.items[index], "txid", "vout")
            check_uint(vout, "vout")
            record, offset = locate(check_txid(txid), vout, work.store.utxo_batch_size)
            wanted.append(_Wanted(index, txid, vout, record, offset))
        except BadItem as fault:
            batch.fail(index, fault.error)
    masters = _read(work, [one.txid for one in wanted], _MASTER_BINS)
    children = _read(work, [one.record for one in wanted if _lives_in_child(one, masters)], _CHILD_BINS)
    wholes = _Wholes(work)
    for one in wanted:
        master = masters[one.txid]
        try:
            answer = _look(work, one, master, children.get(one.record, master), wholes)
        except _Damaged as damage:
            answer = Error(codes.STORE_ERROR, NO, f"output {one.vout}: {damage}")
        if isinstance(answer, Error):
            batch.fail(one.item, answer)
        else:
            batch.complete(one.item, [answer.satoshis, answer.locking_script])


class _Wholes:
    """Whole transactions, each read and checked once in a dispatch."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._known: dict[bytes, Transaction] = {}

    def get(self, txid: bytes, master: dict[str, Any]) -> Transaction:
        """Raises _Damaged, ValueError, OSError."""
        if txid not in self._known:
            self._work.check_time()
            if master.get("external"):
                raw = self._work.store.blobs.get(txid)
            else:
                (result,) = self._work.operate([Read(txid, _WHOLE_BINS)])
                raw = raw_transaction(result.value)
            whole = None if raw is None else parse_transaction(raw)
            if whole is None or whole.txid != txid:
                raise _Damaged("what the store has is not this transaction")
            self._known[txid] = whole
        return self._known[txid]


def _read(work: Work, keys: Sequence[bytes], bins: Sequence[str]) -> Mapping[bytes, Result]:
    distinct = list(dict.fromkeys(keys))
    return dict(zip(distinct, work.operate([Read(key, bins) for key in distinct]), strict=True))


def _lives_in_child(one: _Wanted, masters: Mapping[bytes, Result]) -> bool:
    master = masters[one.txid]
    return one.record != one.txid and master.status is Status.OK and one.vout < _total(master.value)


def _total(master: Any) -> int:
    """How many outputs the transaction has; none where the record can't be read, which `_look` tells."""
    total = master.get("totalUtxos") if type(master) is dict else None
    return total if type(total) is int else 0


def _look(work: Work, one: _Wanted, master: Result, home: Result, wholes: _Wholes) -> Output | Error:
    """home: the record that the output lives in. Raises _Damaged."""
    if master.status is not Status.OK:
        return failure(master, "record")
    if type(master.value) is not dict or type(master.value.get("totalUtxos")) is not int:
        return malformed("record", "it does not tell how many outputs there are")
    if one.vout >= _total(master.value):
        return _not_here(one)
    if home.status is Status.NOT_FOUND:
        if master.value.get("creating"):
            return Error(codes.CREATING, NO, "the transaction is still being created")
        raise _Damaged("its child record is missing")
    if home.status is not Status.OK:
        return failure(home, "child record")
    if type(home.value) is not dict:
        return malformed("child record", "it is no map")
    try:
        output = _output(work, one, master.value, home.value, wholes)
    except (ValueError, TypeError, AttributeError, LookupError, OSError) as error:
        raise _Damaged(str(error)) from error
    return _not_here(one) if output is None else output


def _not_here(one: _Wanted) -> Error:
    return Error(codes.UTXO_NOT_FOUND, NO, f"the transaction has no output {one.vout}, or not here")


def _output(work: Work, one: _Wanted, master: dict[str, Any], home: dict[str, Any], wholes: _Wholes) -> Output | None:
    """None where nobody has told of it. Raises _Damaged, and what reading damage does."""
    utxo = home["utxos"][one.offset]
    if utxo is None and "version" in master:  # it has no hash of its own
        return wholes.get(one.txid, master).outputs[one.vout]
    moved = (home.get("reassigned") or {}).get(one.offset)
    output = Output(*moved) if moved else _stored(work, one, master)
    hashed = output and utxo_hash(one.txid, one.vout, output.locking_script, output.satoshis)
    if utxo is not None and hashed != utxo[:UTXO_BYTES]:
        raise _Damaged("what the store has is another than its utxo hash says")
    return output


def _stored(work: Work, one: _Wanted, master: dict[str, Any]) -> Output | None:
    """As it was created."""
    if master.get("external"):
        work.check_time()
        return work.store.blobs.output(one.txid, one.vout)
    packed = master["outputs"][one.vout]
    return None if packed is None else read_output(packed, 0)[0]
