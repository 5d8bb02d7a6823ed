"""Checks of an endpoint before anybody listens there or connects; and the directory of an ipc endpoint, made."""

import errno
import os
import stat
from pathlib import Path

from protocol.endpoint import IPC, MAX_IPC_PATH_BYTES, default_endpoint, port_number

WANTED = "wanted ipc:///PATH or tcp://HOST:PORT"


def check(endpoint: str) -> None:
    """Raises ValueError if the endpoint is empty, its ipc path is too long, or its port is above 65535 (ZeroMQ would
    silently take another)."""
    if not endpoint:
        raise ValueError(f"the address is empty; {WANTED}")
    if endpoint.startswith(IPC):
        if len(os.fsencode(endpoint.removeprefix(IPC))) > MAX_IPC_PATH_BYTES:
            raise ValueError(f"{endpoint}: longer than the {MAX_IPC_PATH_BYTES} bytes a Unix socket's path can have")
        return
    port = endpoint.rpartition(":")[2]
    if port.isdecimal():
        try:
            port_number(port)
        except ValueError as error:
            raise ValueError(f"{endpoint:.200}: {error}") from None


def may_connect(endpoint: str) -> bool:
    """False where it is known at once that nobody listens: an ipc endpoint without its socket. Raises PermissionError
    where this user may not connect to it."""
    path = _path(endpoint)
    if path is None:
        return True
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return True


def prepare(endpoint: str) -> None:
    """Make the directory of an ipc endpoint, where it is not there, for its owner alone.

    Raises ValueError where `check` does, where the directory can't be made, or where the default's is not ours alone.
    """
    check(endpoint)
    path = _path(endpoint)
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{endpoint}: its directory can't be made: {error.strerror}") from None
    if endpoint == default_endpoint():
        found = path.parent.lstat()  # a link that somebody laid there leads elsewhere
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ValueError(
                f"{path.parent}: is not yours alone (wanted: your own, mode 0700); remove it, or name another --listen"
            )


def _path(endpoint: str) -> Path | None:
    """The socket's. None where an endpoint has none: tcp, and the abstract sockets of ipc://@NAME."""
    name = endpoint.removeprefix(IPC)
    return None if name == endpoint or name.startswith(("@", "*")) else Path(name)
