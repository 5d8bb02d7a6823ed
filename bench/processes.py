"""Processes that belong to a measurement: they end with it, and leave the terminal's Ctrl-C to it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any, Final

from utxod.own_daemon import end_with_parent

_STOP_SECONDS: Final = 30.0


def follow_parent() -> None:
    """First thing in a process of multiprocessing's."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A command with what it starts in its group. Told to end, in order, where the context ends before; then killed.

    options: of subprocess.Popen.
    """
    process = subprocess.Popen(  # noqa: S603 (a program of the measurement's choosing)
        command,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509 (one C call)
        **options,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
