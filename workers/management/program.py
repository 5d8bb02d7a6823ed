"""A program of ours, started beside the daemon: afresh (never forked, so that no client, lock or environment of the
daemon's is shared), and in a process group of its own, so that a Ctrl-C for the daemon is not one for it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]


def start_program(
    module: str, arguments: Sequence[str], pass_fds: Sequence[int], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """`python -m module arguments`, with these descriptors, and the daemon's standard error. environment: beside the
    daemon's. Raises OSError where the host has not what it takes."""
    path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603 (our own interpreter, our own module)
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(path)},
        process_group=0,
        pass_fds=pass_fds,
    )
