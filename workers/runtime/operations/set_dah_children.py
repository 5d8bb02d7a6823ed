"""set_dah_children, a follow-up: all child records of a transaction get their master's delete-at-height.

Item [txid, child count]; result true, also where the master is gone. A child that is missing is a fault. It may be done
in any order, and twice: the height is read from the master when it is written, and again afterwards.
"""

from typing import Final

from protocol import codes
from workers.runtime.children.delete_at_height import set_children_dah
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import MAX_CHILDREN
from workers.runtime.item_shape import Shape, txid_field, uint_field

SHAPE: Final = Shape(txid_field(), uint_field("child count", MAX_CHILDREN))


def run(context: DispatchContext) -> None:
    for index, (txid, child_count) in context.batch.parse(tuple).items():
        error = set_children_dah(context, txid, child_count)
        if error is not None and error.code == codes.TX_NOT_FOUND:
            error = None
        context.batch.complete_unless(error, index, True)
