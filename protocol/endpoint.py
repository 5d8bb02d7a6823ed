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
MAX_PORT: Final = 65_535


def default_endpoint() -> str:
    """The endpoint of this user's daemon, ipc://PATH, when nobody names another."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    directory = os.path.join(runtime, "utxod") if runtime else f"/tmp/utxod-{os.getuid()}"  # noqa: S108 (made 0700)
    return f"{IPC}{directory}/utxod.sock"


def port_number(text: str) -> int:
    """From 0 to MAX_PORT. text: decimal digits, any number of them. Raises ValueError."""
    digits = text.lstrip("0") or "0"
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("a port is a number")
    if len(digits) > len(str(MAX_PORT)) or int(digits) > MAX_PORT:  # of thousands of digits int() makes another error
        raise ValueError(f"a port is at most {MAX_PORT}")
    return int(digits)
