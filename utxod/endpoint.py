"""The place of an ipc endpoint: made before the daemon listens there."""

import os
import stat
from pathlib import Path

from protocol.endpoint import IPC, default_endpoint

# The kernel's limit on the path of a Unix socket (sun_path, less its final zero byte).
MAX_IPC_PATH_BYTES = 107
MAX_PORT = 65_535


def prepare(endpoint: str) -> None:
    """Make the directory of an ipc endpoint, where it is not there, for its owner alone.

    Raises ValueError where the path is too long for a socket, the directory can't be made, the default's directory is
    not ours alone, or a port is none (ZeroMQ would silently take another).
    """
    if not endpoint.startswith(IPC):
        port = endpoint.rpartition(":")[2]
        if port.isdecimal() and int(port) > MAX_PORT:
            raise ValueError(f"{endpoint}: a port is at most {MAX_PORT}")
        return
    path = Path(endpoint.removeprefix(IPC))
    if len(os.fsencode(path)) > MAX_IPC_PATH_BYTES:
        raise ValueError(f"{endpoint}: longer than the {MAX_IPC_PATH_BYTES} bytes a Unix socket's path can have")
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
