"""Whether a SIGHUP says that the terminal has closed, or is an operator's.

The kernel sends one to the leader of a session whose terminal is gone, and to the job in its foreground. A shell that
leads the session sends one on to its other jobs. Neither asks for anything but the end.
"""

import os
import signal
from typing import Final

from .signals import is_from_kernel

_TERMINAL: Final = "/dev/tty"


class Terminal:
    """The one that this process was started at, if any. is_left_alone: SIGHUP was ignored at the start, as by nohup:
    whoever did that wants the daemon to outlive the terminal."""

    def __init__(self) -> None:
        self._had_one = _has_one()
        self.is_left_alone = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def has_closed(self, info: signal.struct_siginfo) -> bool:
        """info: of a SIGHUP that has come now."""
        is_from_leader = info.si_pid == os.getsid(0) and self._had_one and not _has_one()
        return is_from_kernel(info) or is_from_leader


def _has_one() -> bool:
    """Whether this process has a controlling terminal: one that is hung up is none any more."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
