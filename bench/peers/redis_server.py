"""A redis-server for as long as the measurement runs: on a socket of its own, and nothing of it on disk."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from utxod.own_daemon import last_lines

from ..processes import started
from ..report import MeasurementError

_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02


@contextlib.contextmanager
def redis_server() -> Iterator[Path]:
    """Its socket. Raises MeasurementError."""
    program = shutil.which("redis-server")
    if program is None:
        raise MeasurementError("redis-server is not installed (Debian, Ubuntu: apt install redis-server)")
    with tempfile.TemporaryDirectory(prefix="utxod-redis-") as directory:
        socket, log = Path(directory, "socket"), Path(directory, "log")
        command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", directory]
        with log.open("wb") as output, started(command, stdout=output, stderr=subprocess.STDOUT) as server:
            until = time.monotonic() + _START_SECONDS
            while not socket.exists():
                if server.poll() is not None or time.monotonic() > until:
                    raise MeasurementError(f"redis-server did not start:\n{last_lines(log)}")
                time.sleep(_POLL_SECONDS)
            yield socket
