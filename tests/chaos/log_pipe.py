"""The log of a daemon behind a pipe: a thread takes it to a file, until it is told to stop and leave the pipe full."""

import fcntl
import os
import select
import threading
from pathlib import Path
from typing import Final

_PIPE_BYTES: Final = 4096
_FILL: Final = ("." * 1023 + "\n").encode()
_CHUNK: Final = 65536


class LogPipe:
    """file: to which is appended. writing: the descriptor for the daemon; to be closed here once the daemon has it.
    The thread ends when the last writer has."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._is_reading = threading.Lock()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nobody reads any more, and there is no room for another line."""
        if self._is_stopped or not self._thread.is_alive():
            return
        self._is_reading.acquire()
        self._is_stopped = True
        self._fill()

    def go_on(self) -> None:
        if self._is_stopped:
            self._is_stopped = False
            self._is_reading.release()

    def finish(self, seconds: float) -> None:
        """Waits until all is in the file that the daemon has written, once it is gone."""
        self.go_on()
        self._thread.join(seconds)

    def _run(self) -> None:
        with self._file.open("ab", buffering=0) as output:
            while True:
                select.select([self._reading], [], [])
                with self._is_reading:
                    data = os.read(self._reading, _CHUNK)
                    if not data:
                        os.close(self._reading)
                        return
                    output.write(data)

    def _fill(self) -> None:
        # A description of its own: that of the daemon must go on waiting for room.
        writing = os.open(f"/proc/self/fd/{self._reading}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            for line in (_FILL, b"\n"):
                self._write(writing, line)
        finally:
            os.close(writing)

    def _write(self, writing: int, line: bytes) -> None:
        try:
            while True:
                os.write(writing, line)
        except BlockingIOError:
            return
