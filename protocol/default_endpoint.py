"""Where a daemon listens, and a client looks, when nobody says otherwise.

    $XDG_RUNTIME_DIR/utxod/utxod.sock     where the login session has such a directory
    /tmp/utxod-<uid>/utxod.sock           elsewhere

The daemon makes the directory its owner's alone: whoever can open the socket can spend coins.
"""

import os
from typing import Final

IPC: Final = "ipc://"


def default_endpoint() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    directory = os.path.join(runtime, "utxod") if runtime else f"/tmp/utxod-{os.getuid()}"  # noqa: S108 (made 0700)
    return f"{IPC}{directory}/utxod.sock"
