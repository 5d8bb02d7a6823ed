"""A module per operation: each takes a batch's items apart, makes `batch_operate` calls of them, and maps the results
back. An item that is wrong is failed alone."""

from typing import Final

from workers.runtime.executor import Operation

from . import children, create, get, increment, outpoint, set_dah, set_locked, spend

OPERATIONS: Final[dict[str, Operation]] = {
    "get": get.run,
    "outpoint": outpoint.run,
    "create": create.run,
    "spend": spend.run,
    "abandon": spend.run_abandon,
    "set_locked": set_locked.run,
    "increment": increment.run,
    "set_dah": set_dah.run,
    "note_child": children.run_note,
    "set_dah_children": children.run_set_dah,
    "lock_children": children.run_lock,
}
