"""Whether a set that is open is the one that is at its path.

One that was moved or removed, or in whose place a backup was put, stays open where it was; who opens the path later has
another one. A coin that both hold could be spent in each.
"""

import os
from pathlib import Path
from typing import Final

from store.interface import StoreError

_NOT_IN_PLACE: Final = (
    "%s was moved, removed or replaced, and the set with it, maybe: what were written now would not be in the set that "
    "is there. Bring it back; where what is there is the right one, restart"
)


def look(path: Path) -> os.stat_result | None:
    """At what is there, None where nothing can be seen."""
    try:
        return path.stat()
    except OSError:
        return None


def is_in_place(path: Path, opened: os.stat_result | None) -> bool:
    """opened: of the file that is open, None where nobody could tell."""
    found = look(path)
    return found is not None and opened is not None and os.path.samestat(found, opened)


def check_in_place(path: Path, opened: os.stat_result) -> None:
    """opened: of the file that is open. Raises StoreError where another one is at the path, or none can be seen."""
    if not is_in_place(path, opened):
        raise StoreError(_NOT_IN_PLACE % path, in_doubt=False)
