"""How long a call may take: the defaults, and the check of a timeout."""

import math
from typing import Final

DEFAULT_TIMEOUT: Final = 5.0  # seconds
DEFAULT_GRACE: Final = 0.25  # seconds beyond the timeout in which an answer is still waited for


def checked_timeout(seconds: float) -> float:
    """Raises ValueError where it bounds nothing: it is not above 0, or not finite."""
    if not 0 < seconds < math.inf:
        raise ValueError(f"timeout: {seconds!r} is not a number of seconds above 0")
    return seconds
