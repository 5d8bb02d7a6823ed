"""The blob of an external transaction: if there is none yet, it is put before the records that point to it; one that is
there already is replaced after the master's creation has succeeded."""

from msgspec.structs import replace

from protocol import codes
from protocol.codes import NO, UNKNOWN
from protocol.wire import Error
from store import StoreError
from workers.runtime.context import DispatchContext

from .candidate import Candidate, ItemErrors


def put_blob(context: DispatchContext, candidate: Candidate, errors: ItemErrors) -> Candidate:
    """If there is no blob yet. What goes wrong is added to `errors`."""
    try:
        context.check_budget()
        with context.store_time():
            return replace(candidate, has_own_blob=context.store.blobs.put_new(candidate.source))
    except (OSError, StoreError) as error:
        errors[candidate.item_index] = Error(codes.STORE_ERROR, NO, f"blob: {error}")
        return candidate


def make_blob_own(context: DispatchContext, candidate: Candidate) -> Error | None:
    """After the master's creation: the blob is this transaction's, and not what an earlier attempt left."""
    if candidate.has_own_blob:
        return None
    try:
        with context.store_time():
            context.store.blobs.replace(candidate.source)
    except OSError as error:
        return Error(codes.STORE_ERROR, UNKNOWN, f"blob: {error}")
    return None
