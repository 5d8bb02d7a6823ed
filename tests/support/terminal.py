"""A terminal of a test's own, and a command in it that fills the screen."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Final

from tests.support.patience import until
from utxod.import_guard import ROOT

ENTERED: Final = b"\x1b[?1049h"
LEFT: Final = b"\x1b[?1049l"
CURSOR: Final = b"\x1b[?25h"
_HOME: Final = b"\x1b[H"
_CODES: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def fill(terminal: int) -> None:
    """So that it takes no more."""
    filler = os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(filler, b"x" * 64)
    os.close(filler)


class Terminal:
    """A terminal, and `utxod` in it, with these arguments. shell: what a shell with job control does with the command,
    "$@". before: the terminal's modes until then. shown: what was written to it since somebody expected something."""

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 24, shell: str = 'exec "$@"') -> None:
        self._ours, self.theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.theirs)
        self.shown = b""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("UTXOD_")}
        self.process = subprocess.Popen(
            ["sh", "-mc", shell, "sh", sys.executable, "-m", "utxod", *arguments],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env={**environment, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (one call)
        )

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hold(self) -> None:
        """It takes no more output until it is read."""
        fill(self.theirs)

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def expect(self, text: str, within: float = 60.0) -> None:
        """In what is shown from now on."""
        self.shown = b""
        until(lambda: text in self.read(), within)

    def expect_end(self, status: int) -> None:
        """The program ends, and leaves the terminal as it was."""
        until(lambda: (self.read(), self.process.poll() is not None)[1], 60)
        assert self.process.returncode == status, self.read()
        self.expect_as_before()
        assert "Traceback" not in self.read()

    def expect_as_before(self) -> None:
        until(lambda: self.read() and termios.tcgetattr(self.theirs) == self.before, 60)
        assert self.shown.rfind(LEFT) > self.shown.rfind(ENTERED)
        assert self.shown.rfind(CURSOR) > 0

    def read(self) -> str:
        """What was shown since somebody expected something, without codes. A screen that is not read holds it up."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._ours, 1 << 16):
                self.shown += chunk
        return _CODES.sub("", self.shown.decode(errors="replace"))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self.theirs)

    def frame(self) -> str:
        """The next whole screen, as it was written."""
        self.shown = b""
        until(lambda: (self.read(), self.shown.count(_HOME) > 1)[1], 60)
        return self.shown.split(_HOME)[1].decode(errors="replace")
