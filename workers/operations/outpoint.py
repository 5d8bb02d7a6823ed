"""outpoint: what an output is worth and who may spend it, spent or not.

Item [txid, vout]; result [satoshis, locking script]. One store read per distinct txid of the batch.
"""

from typing import Any, Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Read, Result, Status
from store.transaction import Output, read_output

from ..items import BadItem, check_fields, check_txid, check_uint
from ..work import Work, failure, malformed

_BINS: Final = ("external", "outputs")


def run(work: Work) -> None:
    batch = work.batch
    wanted: dict[bytes, list[tuple[int, int]]] = {}
    for index in batch.open():
        try:
            txid, vout = check_fields(batch.items[index], "txid", "vout")
            wanted.setdefault(check_txid(txid), []).append((index, check_uint(vout, "vout")))
        except BadItem as fault:
            batch.fail(index, fault.error)
    results = work.operate([Read(txid, _BINS) for txid in wanted])
    for (txid, outpoints), result in zip(wanted.items(), results, strict=True):
        for index, vout in outpoints:
            _complete(work, index, txid, vout, result)


def _complete(work: Work, index: int, txid: bytes, vout: int, result: Result) -> None:
    if result.status is not Status.OK:
        work.batch.fail(index, failure(result, "record"))
        return
    try:
        output = work.store.blobs.output(txid, vout) if result.value.get("external") else _output(result.value, vout)
    except (ValueError, TypeError, AttributeError, OSError) as error:
        work.batch.fail(index, malformed(f"output {vout}", error))
        return
    if output is None:
        work.batch.fail(index, Error(codes.UTXO_NOT_FOUND, NO, f"the transaction has no output {vout}, or not here"))
    else:
        work.batch.complete(index, [output.satoshis, output.locking_script])


def _output(bins: dict[str, Any], vout: int) -> Output | None:
    outputs = bins.get("outputs")
    if type(outputs) is not list:
        raise ValueError("the record has no list of outputs")
    if vout >= len(outputs) or outputs[vout] is None:
        return None
    return read_output(outputs[vout], 0)[0]
