"""The keys that are pressed while a frame is shown: read as they come, without echo, and never waited for. Afterwards
the terminal is as it was, whatever happens, but for SIGKILL."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Final

from utxod.screen import in_foreground

# Where tcgetattr has them.
_CONTROL_CHARACTERS: Final = 6


def stop_in_background() -> None:
    """As whatever fills a terminal does: it would draw over what another job shows there, and get none of its keys.
    Where no shell is left that could have it go on, it does so at once."""
    descriptor = sys.stdin.fileno()
    with contextlib.suppress(OSError):  # not this session's terminal
        if os.tcgetpgrp(descriptor) != os.getpgrp():
            os.killpg(0, signal.SIGTTOU)


@contextlib.contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Within the running event loop. pressed: is told each key. Nothing is read where standard input is no terminal, or
    is another job's."""
    descriptor = sys.stdin.fileno()
    if not in_foreground(descriptor):
        yield
        return
    loop, before = asyncio.get_running_loop(), termios.tcgetattr(descriptor)

    def read() -> None:
        typed = os.read(descriptor, 1024)
        if not typed and not in_foreground(descriptor):  # the terminal is gone; SIGHUP comes, or has come
            loop.remove_reader(descriptor)
        for key in typed.decode(errors="replace"):
            pressed(key)

    try:
        tty.setcbreak(descriptor, termios.TCSANOW)  # else it would wait until all output is taken
        _never_wait(descriptor)
        loop.add_reader(descriptor, read)
        yield
    finally:
        loop.remove_reader(descriptor)
        if in_foreground(descriptor):  # another job has its own modes, and would stop this one
            with contextlib.suppress(termios.error):  # it is gone
                termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _never_wait(descriptor: int) -> None:
    """What was there to be read need not be any more: Ctrl-C takes back all that was typed before it. Who waited then
    would stand there until the next key, and a signal would end nothing."""
    mode = termios.tcgetattr(descriptor)
    mode[_CONTROL_CHARACTERS][termios.VMIN] = 0
    termios.tcsetattr(descriptor, termios.TCSANOW, mode)
