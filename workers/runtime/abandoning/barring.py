"""Keeps a transaction from coming into the set while its spends are given back, in a store without groups; and what is
to be known of one that is there.

Where there is none, a record with the one bin `abandoned` stands at its key. It goes by itself, once no step of an
`accept` that began before it can still land: after the execution limit, and the time that the store had for its last
call. (So all daemons on a set should have like limits.) Whoever asks again makes it stand longer.
"""

from collections.abc import Iterable
from math import ceil
from typing import Final, NamedTuple

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Mode, Read, Result, Status, Write
from store.layout import ABANDONED
from workers.runtime.context import DispatchContext
from workers.runtime.spending.mined_spender import MINED_BINS, refuse_mined
from workers.runtime.store_errors import error_of_record

_MARGIN_SECONDS: Final = 2  # a time to live counts in whole seconds, and servers' clocks differ a little


class Found(NamedTuple):
    """there: of the transactions that were asked about, those that are in the set. errors: why the others' spends are
    not given back, by txid."""

    there: set[bytes]
    errors: dict[bytes, Error]


def bar_creations(context: DispatchContext, txids: Iterable[bytes]) -> Found:
    """Those that are not there are barred."""
    seconds = ceil(context.landing_seconds) + _MARGIN_SECONDS
    # Every record of a transaction has the bin txID: what is there without it is such a record, which stays longer.
    writes = [Write(txid, {ABANDONED: True}, Mode.UPSERT, {"txID": None}, seconds) for txid in dict.fromkeys(txids)]
    found = Found(set(), {})
    for write, result in zip(writes, context.try_operate(writes), strict=True):
        if result.status is Status.CONDITION_FALSE:
            found.there.add(write.key)
        elif result.status is not Status.OK:
            found.errors[write.key] = error_of_record(result, "what bars the creation")
    return found


def find_conflicting(context: DispatchContext, txids: Iterable[bytes]) -> Found:
    """Those that are there, and conflicting; one that is there, and is not, or is mined on the longest chain, is an
    error."""
    reads = [Read(txid, ("conflicting", *MINED_BINS)) for txid in dict.fromkeys(txids)]
    found = Found(set(), {})
    for read, result in zip(reads, context.try_operate(reads), strict=True):
        error = refusal_of_spender(result)
        if error is not None:
            found.errors[read.key] = error
        elif result.status is Status.OK:
            found.there.add(read.key)
    return found


def refusal_of_spender(result: Result) -> Error | None:
    """Why the spends of a transaction are not given back: None where it is not there, or is conflicting and in no block
    of the longest chain. result: of reading `conflicting` and MINED_BINS."""
    if result.status is Status.OK and type(result.value) is dict and not result.value.get("conflicting"):
        return Error(codes.SPENDER_EXISTS, NO, "the spending transaction is in the set, and not conflicting")
    return refuse_mined(result)
