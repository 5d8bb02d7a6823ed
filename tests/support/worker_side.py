"""A worker's side of its link, in the hands of a test beside the worker itself."""

import ctypes
import json
import os
import socket
from contextlib import closing
from pathlib import Path

from protocol.worker_link import WorkerLink

_PIDFD_GETFD = 438


def socket_of(pid: int) -> socket.socket:
    """A duplicate of the worker's own. Who reads of it what the worker is to read must be quicker than the worker."""
    settings = json.loads(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2])
    with closing(os.fdopen(os.pidfd_open(pid))) as process:
        duplicate = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process.fileno(), settings["link"], 0)
    if duplicate < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return socket.socket(fileno=duplicate)


def link_of(pid: int) -> WorkerLink:
    """As `socket_of`, as a link."""
    return WorkerLink(socket_of(pid))
