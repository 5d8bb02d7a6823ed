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

from utxod.screen import in_foreground, opened_anew


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
    ours = opened_anew(descriptor, os.O_RDONLY)

    def read() -> None:
        try:
            typed = os.read(ours, 1024)
        except BlockingIOError:  # Ctrl-C takes back all that was typed before it
            return
        if not typed:  # the terminal is gone; SIGHUP comes, or has come
            loop.remove_reader(ours)
        for key in typed.decode(errors="replace"):
            pressed(key)

    try:
        tty.setcbreak(descriptor, termios.TCSANOW)  # else it would wait until all output is taken
        loop.add_reader(ours, read)
        yield
    finally:
        loop.remove_reader(ours)
        if ours != descriptor:
            os.close(ours)
        if in_foreground(descriptor):  # another job has its own modes, and would stop this one
            with contextlib.suppress(termios.error):  # it is gone
                termios.tcsetattr(descriptor, termios.TCSANOW, before)
