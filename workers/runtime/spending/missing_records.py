"""Asks the master why the record of an output is missing."""

from collections.abc import Mapping
from typing import Final, Protocol, TypeVar

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Read, Result, Status
from workers.runtime.context import DispatchContext
from workers.runtime.store_errors import error_of_record, error_of_unreadable

K = TypeVar("K")

_ASK_MASTER: Final = frozenset({codes.TX_NOT_FOUND, codes.CREATING})


class Output(Protocol):
    """record: the key of the record that it lives in."""

    @property
    def txid(self) -> bytes: ...

    @property
    def vout(self) -> int: ...

    @property
    def record(self) -> bytes: ...


def explain_missing_records(context: DispatchContext, outputs: Mapping[K, Output], errors: dict[K, Error]) -> None:
    """Where a child record was not found, its master says why: there is no such transaction, or no such output, or it
    is being created; or the child is missing, which is a fault. A child that is marked as being created may be what
    a creation of more outputs has left.

    outputs: what was asked for. errors: of those of them that failed, by the same keys; here they get their reasons."""
    if not errors:
        return
    unexplained = {
        key: output
        for key, output in outputs.items()
        if output.record != output.txid and key in errors and errors[key].code in _ASK_MASTER
    }
    masters = list(dict.fromkeys(output.txid for output in unexplained.values()))
    results = context.try_operate([Read(txid, ("totalUtxos", "creating")) for txid in masters])
    found = dict(zip(masters, results, strict=True))
    for key, output in unexplained.items():
        errors[key] = _explain(output, errors[key], found[output.txid])


def _explain(output: Output, error: Error, master: Result) -> Error:
    if master.status is not Status.OK:
        return error if error.code == codes.CREATING else error_of_record(master, "record")
    if type(master.value) is not dict or type(master.value.get("totalUtxos")) is not int:
        return error_of_unreadable("record", "it does not tell how many outputs there are")
    if master.value.get("creating"):
        return Error(codes.CREATING, NO, "the transaction is still being created")
    if output.vout >= master.value["totalUtxos"]:
        return Error(codes.UTXO_NOT_FOUND, NO, f"the transaction has no output {output.vout}, or not here")
    if error.code == codes.CREATING:
        return error
    return Error(codes.STORE_ERROR, NO, f"the child record of output {output.vout} is missing")
