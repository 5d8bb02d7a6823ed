"""set_dah_children, a follow-up: all child records of a transaction get their master's delete-at-height.

Item [txid, child count]; result true, also where the master is gone. A child that is missing is a fault. It may be done
in any order, and twice: the height is read from the master when it is written, and again afterwards.
"""

from typing import Any

from protocol import codes
from workers.runtime.children.delete_at_height import set_children_dah
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import MAX_CHILDREN, check_fields, check_txid, check_uint


def run(context: DispatchContext) -> None:
    for index, (txid, child_count) in context.batch.parse(_parse).items():
        error = set_children_dah(context, txid, child_count)
        if error is not None and error.code == codes.TX_NOT_FOUND:
            error = None
        context.batch.complete_unless(error, index, True)


def _parse(item: Any) -> tuple[bytes, int]:
    txid, child_count = check_fields(item, "txid", "child count")
    return check_txid(txid), check_uint(child_count, "child count", MAX_CHILDREN)
