"""The signals that the daemon is sent, as events; and what they are called.

Those whose usual effect is to end or stop a process, nearly all, are blocked: none is lost, interrupts a call or takes
the daemon by surprise, and those it has no use for have no effect. Blocked SIGTTOU is what lets a background job write
to a terminal with `tostop`: the kernel asks for nothing else.
"""

import ctypes
import os
import signal
from contextlib import suppress
from typing import Final

_HARMLESS: Final = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
_BLOCKED: Final = signal.valid_signals() - _HARMLESS - {signal.SIGKILL, signal.SIGSTOP}
_SIGSET_BYTES: Final = 128
_BURST: Final = 64


class Signals:
    """descriptor: can be read when there is a signal to take. For the main thread; threads started later block the same
    signals. Raises OSError."""

    def __init__(self) -> None:
        self.descriptor = _signalfd()
        self._before = signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED)

    def take(self) -> list[signal.struct_siginfo]:
        """What has been sent since the last time, each with its sender; not more than a burst."""
        taken: list[signal.struct_siginfo] = []
        while len(taken) < _BURST and (info := signal.sigtimedwait(_BLOCKED, 0)) is not None:
            taken.append(info)
        return taken

    def close(self) -> None:
        """The signal mask is again what it was before."""
        self.take()
        os.close(self.descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def _signalfd() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    mask = ctypes.create_string_buffer(_SIGSET_BYTES)
    libc.sigemptyset(mask)
    for number in _BLOCKED:
        libc.sigaddset(mask, int(number))
    descriptor = libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), f"signalfd: {os.strerror(ctypes.get_errno())}")
    return int(descriptor)


def is_from_kernel(info: signal.struct_siginfo) -> bool:
    """Not from a process that meant this one."""
    return info.si_code > 0


def signal_name(number: int) -> str:
    """For people; most of the real-time signals have no name."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
