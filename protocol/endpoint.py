"""An endpoint: the address where a daemon listens and its clients connect. The default one:

    $XDG_RUNTIME_DIR/utxod/utxod.sock     where the login session has such a directory
    /tmp/utxod-<uid>/utxod.sock           elsewhere

The daemon makes the directory its owner's alone: whoever can open the socket can spend coins.
"""

import os
from typing import Final

IPC: Final = "ipc://"
# The kernel's limit on the path of a Unix socket (sun_path, less its final zero byte).
MAX_IPC_PATH_BYTES: Final = 107


def default_endpoint() -> str:
    """The endpoint of this user's daemon, ipc://PATH, when nobody names another."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    directory = os.path.join(runtime, "utxod") if runtime else f"/tmp/utxod-{os.getuid()}"  # noqa: S108 (made 0700)
    return f"{IPC}{directory}/utxod.sock"
