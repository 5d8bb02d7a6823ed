"""A module per operation: each takes a batch's items apart, makes record operations of them, and maps the results back.
An item that is wrong is failed alone. What several of them share is in the folders beside this one."""

from typing import Final

from workers.runtime.executor import Operation
from workers.runtime.spending.parsed_spend import SHAPE as SPEND_SHAPE

from . import (
    abandon,
    accept,
    create,
    freeze,
    get,
    increment,
    lock_children,
    mark_longest_chain,
    note_child,
    outpoint,
    preserve_until,
    reassign,
    set_conflicting,
    set_dah,
    set_dah_children,
    set_locked,
    set_mined,
    spend,
    unfreeze,
    unspend,
    utxo,
)

OPERATION_BY_NAME: Final[dict[str, Operation]] = {
    "get": Operation(get.run, get.SHAPE),
    "outpoint": Operation(outpoint.run, outpoint.SHAPE),
    "utxo": Operation(utxo.run, utxo.SHAPE),
    "accept": Operation(accept.run, accept.SHAPE),
    "create": Operation(create.run, create.SHAPE),
    "spend": Operation(spend.run, SPEND_SHAPE),
    "unspend": Operation(unspend.run, SPEND_SHAPE),
    "abandon": Operation(abandon.run, abandon.SHAPE),
    "set_locked": Operation(set_locked.run, set_locked.SHAPE),
    "increment": Operation(increment.run, increment.SHAPE),
    "set_dah": Operation(set_dah.run, set_dah.SHAPE),
    "set_mined": Operation(set_mined.run, set_mined.SHAPE),
    "mark_longest_chain": Operation(mark_longest_chain.run, mark_longest_chain.SHAPE),
    "freeze": Operation(freeze.run, freeze.SHAPE),
    "unfreeze": Operation(unfreeze.run, unfreeze.SHAPE),
    "reassign": Operation(reassign.run, reassign.SHAPE),
    "preserve_until": Operation(preserve_until.run, preserve_until.SHAPE),
    "set_conflicting": Operation(set_conflicting.run, set_conflicting.SHAPE),
    # Follow-ups: no submitter may ask for these.
    "note_child": Operation(note_child.run, note_child.SHAPE),
    "set_dah_children": Operation(set_dah_children.run, set_dah_children.SHAPE),
    "lock_children": Operation(lock_children.run, lock_children.SHAPE),
}
