"""How long tests wait for what must come."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

# Far more than anything that is to come at once takes on a machine that is busy with something else, and less than the
# timeouts and limits that tests of it set (30 s and more): what comes only at their end is found out.
SOON: Final = 20.0
_LOOK_SECONDS: Final = 0.002  # between two looks at what no event tells


def until(condition: Callable[[], Any], within: float = SOON) -> Any:
    """What the condition gives, once that is true. Fails where it does not become so within so many seconds."""
    deadline = time.monotonic() + within
    pause = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within} s"
        pause.wait(_LOOK_SECONDS)
    return value


def at_last(look: Callable[[], T], wanted: T, within: float = 60.0) -> T:
    """What is seen, once that is what is wanted; or what still is after so many seconds. A busy machine may hide it, or
    add to it, for a moment."""
    deadline = time.monotonic() + within
    while (seen := look()) != wanted and time.monotonic() < deadline:
        threading.Event().wait(_LOOK_SECONDS)
    return seen
