"""How a command ends: with one of these statuses; where its surroundings fail it, after one line that says so.

What a host may refuse anybody (a file, a descriptor, a place to write to) is no defect of the command's, and its
traceback would help nobody. Every other error keeps its traceback.
"""

import contextlib
import errno
import io
import os
import select
import sys
from typing import Final, NoReturn

import click

WRONG: Final = 1  # something does not hold, or could not be done
NOT_FOUND: Final = 3  # 2 is click's own: the command line is not what --help says
NO_DAEMON: Final = 4
INTERRUPTED: Final = 130  # Ctrl-C, as shells report it
_BY_SIGNAL: Final = 128  # and the signal's number

_DENIED: Final = "use another place, or a user who may"
_WHERE: Final = "is it spelt right, and is TMPDIR a directory?"
_FULL: Final = "make room where it writes to, its output included"
_BUSY: Final = "is there a limit on this user's processes or memory (ulimit -a), or nobody who reads the output?"
# Python's words for it: the error has no number.
_NO_THREAD: Final = "can't start new thread"
# What the surroundings may refuse, and what to do about it.
_REMEDIES: Final = {
    errno.EMFILE: "allow this process more open files (ulimit -n)",
    errno.ENFILE: "the host has no more open files to give",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EIO: "its terminal, or its disk, is gone",
    errno.EBADF: "open it, to /dev/null where nobody is to read it",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
    errno.ENOENT: _WHERE,
    errno.ENOTDIR: _WHERE,
    errno.ELOOP: _WHERE,
    errno.ENAMETOOLONG: "name a shorter one",
    errno.EAGAIN: _BUSY,
    errno.ENOMEM: _BUSY,
}


class OutputClosed(OSError):
    """Standard output was closed before the start."""


class _Nowhere(io.TextIOBase):
    """In place of a standard output that is closed."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        if text:
            raise OutputClosed(errno.EBADF, "standard output is closed")
        return 0


def run(command: click.Command, name: str) -> NoReturn:
    """Runs the command line of a process called `name`, and ends the process."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 (for as long as the process lives)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)
    if sys.stdout is None:
        sys.stdout = _Nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what a terminal can't show ends no command
    try:
        status = _status(command, name)
        if isinstance(status, int) and status > _BY_SIGNAL:
            forget_held_output()
        sys.stdout.flush()
    except KeyboardInterrupt:
        forget_held_output()
        status = INTERRUPTED
    except BrokenPipeError:  # whoever read the output has had enough
        _forget_output()
        status = WRONG
    except Exception as error:
        line = explained(error)
        if line is None:
            raise
        with contextlib.suppress(OSError):  # there is nobody else to tell
            click.echo(f"{name}: {line}", err=True)
        _forget_output()
        status = WRONG
    sys.exit(status)


def _status(command: click.Command, name: str) -> int | str | None:
    try:
        status: int | None = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except SystemExit as end:
        return end.code
    return status


def explained(error: Exception) -> str | None:
    """What the surroundings refused, and what to do about it; None of any other error."""
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return f"{error}; {_BUSY}"
    number = getattr(error, "errno", None)  # ZeroMQ's errors have one too
    if number not in _REMEDIES or (number == errno.EBADF and not isinstance(error, OutputClosed)):
        return None
    file = getattr(error, "filename", None)
    what = getattr(error, "strerror", None) or os.strerror(number)
    return f"{f'{file}: ' if file else ''}{what}; {_REMEDIES[number]}"


def forget_held_output() -> None:
    """What is written to standard output, or error, goes nowhere from now on where that takes nothing just now. Who
    stands in such a write, and has been interrupted there by a signal, does it again, and goes on."""
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(0):
            _forget(descriptor)


def _forget_output() -> None:
    """What could not be written would be tried again at the interpreter's end, which says so in words of its own."""
    with contextlib.suppress(OSError, ValueError):
        _forget(sys.stdout.fileno())


def _forget(descriptor: int) -> None:
    """What is written to it goes nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
