"""A module per operation: each takes a batch's items apart, makes record operations of them, and maps the results back.
An item that is wrong is failed alone. What several of them share is in the folders beside this one."""

from typing import Final

from workers.runtime.executor import Operation

from . import (
    abandon,
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
)

OPERATION_BY_NAME: Final[dict[str, Operation]] = {
    "get": get.run,
    "outpoint": outpoint.run,
    "create": create.run,
    "spend": spend.run,
    "abandon": abandon.run,
    "set_locked": set_locked.run,
    "increment": increment.run,
    "set_dah": set_dah.run,
    # Follow-ups: no submitter may ask for these.
    "note_child": note_child.run,
    "set_dah_children": set_dah_children.run,
    "lock_children": lock_children.run,
}
