"""The operations by name, and the flags of their items. What an item of each looks like: docs/protocol.md.

A submitter may send any of `OPERATIONS`. `FOLLOW_UPS` come from workers only: work that follows from work.
"""

from typing import Final

OPERATIONS: Final = ("get", "outpoint", "create", "spend", "abandon", "set_locked", "increment", "set_dah")

FOLLOW_UPS: Final = ("note_child", "set_dah_children", "lock_children")

# Flags of a `create` item.
CREATE_CONFLICTING: Final = 1
CREATE_LOCKED: Final = 2
CREATE_COINBASE: Final = 4  # partial creations only: a whole transaction says so itself

# Flags of a `spend` item.
SPEND_IGNORE_CONFLICTING: Final = 1
SPEND_IGNORE_LOCKED: Final = 2
