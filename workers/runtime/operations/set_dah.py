"""set_dah: sets or removes the delete-at-height of one record. Update-only: a record that is missing is an error, never
a new record; a child record that its master says there is, is a fault.

Item [txid, child index (0: the master), height (0 removes)]; result true.
"""

from collections.abc import Mapping

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store import Mode, Read, Status, Write
from store.layout import TXID_BYTES, child_index, record_key
from workers.runtime.checks import BadItem, check_fields, check_height, check_txid, check_uint
from workers.runtime.context import Work, failure

_MAX_CHILD = 0xFFFFFFFE  # the next one is the key of the creation lock


def dah_write(txid: bytes, child: int, height: int) -> Write:
    return Write(record_key(txid, child), {"deleteAtHeight": height or None}, Mode.UPDATE)


def run(work: Work) -> None:
    batch = work.batch
    indices: list[int] = []
    writes: list[Write] = []
    for index in batch.open():
        try:
            txid, child, height = check_fields(batch.items[index], "txid", "child index", "height")
            check_uint(child, "child index", _MAX_CHILD)
            writes.append(dah_write(check_txid(txid), child, check_height(height, "height")))
            indices.append(index)
        except BadItem as fault:
            batch.fail(index, fault.error)
    results = dict(zip(indices, work.operate(writes), strict=True))
    keys = {index: write.key for index, write in zip(indices, writes, strict=True)}
    missing = {index: keys[index] for index, result in results.items() if result.status is Status.NOT_FOUND}
    faults = _missing_children(work, missing)
    for index, result in results.items():
        if result.status is Status.OK:
            batch.complete(index, True)
        else:
            batch.fail(index, faults.get(index) or failure(result, "record"))


def _missing_children(work: Work, missing: Mapping[int, bytes]) -> dict[int, Error]:
    """Of those child records that are not there: why, by their masters."""
    children = [(index, key) for index, key in missing.items() if child_index(key)]
    masters = work.try_operate([Read(key[:TXID_BYTES], ("totalExtraRecs",)) for _, key in children])
    faults: dict[int, Error] = {}
    for (index, key), master in zip(children, masters, strict=True):
        if master.status is not Status.OK:
            faults[index] = failure(master, "record")
        elif child_index(key) <= (master.value.get("totalExtraRecs") or 0):
            faults[index] = Error(codes.STORE_ERROR, NO, f"child record {child_index(key)} is missing")
    return faults
