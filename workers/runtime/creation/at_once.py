"""Creation of transactions in one batch, all records of each as a group: for those of one record; and for all of them
in a store where a group is applied as a whole, or not at all."""

from collections.abc import Sequence

from msgspec.structs import replace

from protocol.codes import NO
from protocol.wire import Error
from store import Mode, Read, Result, Status, Write
from store.layout import ABANDONED, move_out
from workers.runtime.context import DispatchContext
from workers.runtime.store_errors import error_of_record

from .blobs import make_blob_own, put_blob
from .candidate import Candidate, ItemErrors, creating_error, exists_error, leftover_error, without_errors


def create_at_once(context: DispatchContext, candidates: Sequence[Candidate]) -> ItemErrors:
    """Returns, by item, why it was not created. One that is too big for a record goes to the blob store."""
    errors: ItemErrors = {}
    writable = put_blobs(context, candidates, errors)
    writes = [
        Write(key, bins, Mode.CREATE, group=candidate.group)
        for candidate in writable
        for key, bins in candidate.creation.records
    ]
    results = context.try_operate(writes)
    too_big: list[Candidate] = []
    start = 0
    for candidate in writable:
        own = results[start : start + len(candidate.creation.records)]
        start += len(own)
        if own[0].status is Status.TOO_BIG and not candidate.creation.external:
            too_big.append(replace(candidate, creation=move_out(candidate.creation)))
            continue
        error = error_of_creation(candidate, own)
        if error is None and candidate.creation.external:
            error = make_blob_own(context, candidate)
        if error is not None:
            errors[candidate.item_index] = error
    if too_big:
        errors |= create_at_once(context, too_big)
    return errors


def put_blobs(context: DispatchContext, candidates: Sequence[Candidate], errors: ItemErrors) -> list[Candidate]:
    """Writes the blobs of what does not exist yet. Returns what is still to be created; why the others are not is added
    to `errors`."""
    external = [candidate for candidate in candidates if candidate.creation.external]
    if not external:
        return list(candidates)
    keys = [key for candidate in external for key, _ in candidate.creation.records]
    results = iter(context.try_operate([Read(key, ("recordUtxos", ABANDONED)) for key in keys]))
    writable = [candidate for candidate in candidates if not candidate.creation.external]
    begun: set[bytes] = set()
    for candidate in external:
        master, *children = [next(results) for _ in candidate.creation.records]
        left = [key for (key, _), child in zip(candidate.children, children, strict=True) if child.status is Status.OK]
        if master.status is not Status.NOT_FOUND:
            unread = error_of_record(master, "transaction")._replace(executed=NO)  # nothing is written yet
            errors[candidate.item_index] = exists_error() if master.status is Status.OK else unread
        elif left:
            errors[candidate.item_index] = leftover_error(left)
        elif candidate.txid in begun:
            errors[candidate.item_index] = creating_error()
        else:
            begun.add(candidate.txid)
            writable.append(put_blob(context, candidate, errors))
    return without_errors(writable, errors)


def error_of_creation(candidate: Candidate, results: Sequence[Result]) -> Error | None:
    """Why it was not created. results: of all its records, the master's first."""
    for number, result in enumerate(results):
        if result.status is Status.OK:
            continue
        if number == 0:
            return error_of_record(result, "transaction")
        if result.status is Status.EXISTS:
            return leftover_error([candidate.creation.records[number][0]])
        return error_of_record(result, f"child record {number}")
    return None
