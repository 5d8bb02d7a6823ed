"""A module per operation: each takes a batch's items apart, makes record operations of them, and maps the results back.
An item that is wrong is failed alone. What several of them share is in the folders beside this one."""

from typing import Final

from workers.runtime.executor import Operation
from workers.runtime.spending.parsed_spend import SHAPE as SPEND_SHAPE

from . import (
    create,
    get,
    increment,
    lock_children,
    note_child,
    outpoint,
    set_dah,
    set_dah_children,
    set_locked,
    spend,
    unspend,
    utxo,
)

OPERATION_BY_NAME: Final[dict[str, Operation]] = {
    "get": Operation(get.run, get.SHAPE),
    "outpoint": Operation(outpoint.run, outpoint.SHAPE),
    "utxo": Operation(utxo.run, utxo.SHAPE),
    "create": Operation(create.run, create.SHAPE),
    "spend": Operation(spend.run, SPEND_SHAPE),
    "unspend": Operation(unspend.run, SPEND_SHAPE),
    "set_locked": Operation(set_locked.run, set_locked.SHAPE),
    "increment": Operation(increment.run, increment.SHAPE),
    "set_dah": Operation(set_dah.run, set_dah.SHAPE),
    # Follow-ups: no submitter may ask for these.
    "note_child": Operation(note_child.run, note_child.SHAPE),
    "set_dah_children": Operation(set_dah_children.run, set_dah_children.SHAPE),
    "lock_children": Operation(lock_children.run, lock_children.SHAPE),
}
