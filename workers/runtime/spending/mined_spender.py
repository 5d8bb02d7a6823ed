"""A spender that is mined on the longest chain: what it spends is taken back by nobody."""

from typing import Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Result, Status
from workers.runtime.store_errors import error_of_record, error_of_unreadable

MINED_BINS: Final = ("blockIDs", "unminedSince")


def refuse_mined(spender: Result) -> Error | None:
    """SPENDER_MINED, or why nobody knows; None where it is not mined so, or is not there. spender: of reading its
    master record, MINED_BINS among the bins."""
    if spender.status is Status.NOT_FOUND:
        return None
    if spender.status is not Status.OK:
        return error_of_record(spender, "spender")
    if type(spender.value) is not dict or type(spender.value.get("blockIDs", [])) is not list:
        return error_of_unreadable("spender", "it does not tell its blocks")
    if spender.value.get("blockIDs") and spender.value.get("unminedSince") is None:
        return Error(codes.SPENDER_MINED, NO, "the spending transaction is mined on the longest chain")
    return None
