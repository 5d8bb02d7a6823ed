"""The flags that an item carries, by operation. What an item of each operation looks like: docs/protocol.md."""

from typing import Final

# Flags of a `create` item.
CREATE_CONFLICTING: Final = 1
CREATE_LOCKED: Final = 2
CREATE_COINBASE: Final = 4  # partial creations only: a whole transaction says so itself

# Flags of a `spend` item.
SPEND_IGNORE_CONFLICTING: Final = 1
SPEND_IGNORE_LOCKED: Final = 2
