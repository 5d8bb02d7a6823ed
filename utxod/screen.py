"""What is drawn on a terminal again and again, frames and bars, waits for no terminal: one that is held (Ctrl-S) or
stalled (ssh, tmux) takes no output, and who stands in a write to it can't be told to end.

What the terminal does not take at once is passed on later, from where it was cut off: no escape sequence is left half
written with another behind it. What is printed for a person to read later is printed as ever, and may wait.
"""

import io
import os
import termios
import time
from typing import Final, TextIO

# Of what waits; what is drawn while there is more is lost.
_MOST_BYTES: Final = 1 << 16
# Between two looks whether the terminal takes something.
RETRY_SECONDS: Final = 0.02
# For a terminal to take the last of it.
_LEAVE_SECONDS: Final = 0.25


class Screen(io.TextIOBase):
    """The terminal of a stream, for who draws on it (rich)."""

    def __init__(self, terminal: TextIO) -> None:
        terminal.flush()
        self._theirs = terminal.fileno()
        self._ours = opened_anew(self._theirs, os.O_WRONLY)
        self._waiting = bytearray()

    @property
    def waits(self) -> bool:
        """Something that was drawn is not taken yet."""
        return bool(self._waiting)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._theirs

    def write(self, text: str) -> int:
        if len(self._waiting) < _MOST_BYTES:
            self._waiting += text.encode(errors="replace")
        return len(text)

    def flush(self) -> None:
        """As much as the terminal takes. Raises OSError where it is gone."""
        try:
            while self._waiting:
                del self._waiting[: os.write(self._ours, self._waiting)]
        except BlockingIOError:
            pass

    def wait(self, seconds: float) -> bool:
        """Until the terminal has taken all, so long at most. Whether it has."""
        until = time.monotonic() + seconds
        self.flush()
        while self.waits and time.monotonic() < until:
            time.sleep(RETRY_SECONDS)
            self.flush()
        return not self.waits

    def leave(self, instead: str) -> None:
        """At the end. Where the terminal has not taken all within a moment, what is left is given up, also what the
        kernel keeps for it, and a terminal that is held goes on: as where Ctrl-C is pressed. `instead` is what it gets
        then: it begins with an escape, which ends whatever was cut off."""
        if self.wait(_LEAVE_SECONDS):
            return
        self._waiting[:] = instead.encode()
        # Of theirs nothing may be left: what stands in a write to it is made to go nowhere by a second signal.
        if in_foreground(self._ours):  # who is not would be stopped for it
            termios.tcflush(self._ours, termios.TCOFLUSH)
            termios.tcflow(self._ours, termios.TCOOFF)  # the kernel starts only what was stopped so
            termios.tcflow(self._ours, termios.TCOON)
        self.flush()

    def close(self) -> None:
        """What still waits is lost."""
        if not self.closed and self._ours != self._theirs:
            os.close(self._ours)
        self._waiting.clear()
        super().close()


def in_foreground(descriptor: int) -> bool:
    """It is this process's terminal, and that of no other job at present."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def opened_anew(descriptor: int, mode: int) -> int:
    """The same terminal, without waiting: that is a matter of all who share a descriptor, the shell among them. The
    descriptor itself, which waits, where it can't be opened: another user's, that is not of this session."""
    mode |= os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(f"/proc/self/fd/{descriptor}", mode)
    except OSError:
        pass
    try:
        os.tcgetpgrp(descriptor)
        return os.open("/dev/tty", mode)
    except OSError:
        return descriptor
