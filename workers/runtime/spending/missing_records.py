"""Asks the master why the record of an output is missing."""

from typing import Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Read, Result, Status
from workers.runtime.context import DispatchContext
from workers.runtime.store_errors import error_of_record, error_of_unreadable

from .parsed_spend import ParsedSpend

_ASK_MASTER: Final = frozenset({codes.TX_NOT_FOUND, codes.CREATING})


def explain_missing_records(context: DispatchContext, spends: dict[int, ParsedSpend], errors: dict[int, Error]) -> None:
    """Where a child record was not found, its master says why: there is no such transaction, or no such output, or it
    is being created; or the child is missing, which is a fault. A child that is marked as being created may be what
    a creation of more outputs has left."""
    if not errors:
        return
    unexplained = [
        spend
        for index, spend in spends.items()
        if spend.record != spend.txid and index in errors and errors[index].code in _ASK_MASTER
    ]
    masters = list(dict.fromkeys(spend.txid for spend in unexplained))
    results = context.try_operate([Read(txid, ("totalUtxos", "creating")) for txid in masters])
    found = dict(zip(masters, results, strict=True))
    for spend in unexplained:
        errors[spend.item_index] = _explain(spend, errors[spend.item_index], found[spend.txid])


def _explain(spend: ParsedSpend, error: Error, master: Result) -> Error:
    if master.status is not Status.OK:
        return error if error.code == codes.CREATING else error_of_record(master, "record")
    if type(master.value) is not dict or type(master.value.get("totalUtxos")) is not int:
        return error_of_unreadable("record", "it does not tell how many outputs there are")
    if master.value.get("creating"):
        return Error(codes.CREATING, NO, "the transaction is still being created")
    if spend.vout >= master.value["totalUtxos"]:
        return Error(codes.UTXO_NOT_FOUND, NO, f"the transaction has no output {spend.vout}, or not here")
    if error.code == codes.CREATING:
        return error
    return Error(codes.STORE_ERROR, NO, f"the child record of output {spend.vout} is missing")
