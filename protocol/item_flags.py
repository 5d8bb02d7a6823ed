"""The flags that an item carries, by operation. What an item of each operation looks like: docs/protocol.md."""

from typing import Final

# Flags of a `create` item.
CREATE_CONFLICTING: Final = 1
CREATE_LOCKED: Final = 2
CREATE_COINBASE: Final = 4  # partial creations only: a whole transaction says so itself

# Flags of a `spend` item.
SPEND_IGNORE_CONFLICTING: Final = 1
SPEND_IGNORE_LOCKED: Final = 2

# Flags of an `accept` item: the first two are those of a `create` item.
ACCEPT_CONFLICTING: Final = CREATE_CONFLICTING
ACCEPT_LOCKED: Final = CREATE_LOCKED
ACCEPT_IGNORE_CONFLICTING: Final = 8  # spends outputs of conflicting transactions
ACCEPT_IGNORE_LOCKED: Final = 16  # and of locked ones

# Flags of a `set_mined` item.
MINED_ON_LONGEST_CHAIN: Final = 1
MINED_UNSET: Final = 2
