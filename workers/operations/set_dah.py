"""set_dah: sets or removes the delete-at-height of one record. Update-only: a record that is missing is an error, never
a new record.

Item [txid, child index (0: the master), height (0 removes)]; result true.
"""

from store import Mode, Status, Write
from store.layout import record_key

from ..items import BadItem, check_fields, check_height, check_txid, check_uint
from ..work import Work, failure

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
    for index, result in zip(indices, work.operate(writes), strict=True):
        if result.status is Status.OK:
            batch.complete(index, True)
        else:
            batch.fail(index, failure(result, "record"))
