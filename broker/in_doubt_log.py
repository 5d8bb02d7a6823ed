"""The in-doubt log: a file that outlives the daemon. It names what an operator may have to check; no command reads it
yet.

A line of JSON each: the store, why, and either the txid of a master whose owed work failed, or a request (operation and
body, hexadecimal) whose worker was lost, and maybe follow-up work with it.

A thread of its own writes them, so that a disk that hangs holds nobody up. What can't be written (the disk is full, the
directory is gone) is kept, up to a bound, and tried again.
"""

import json
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from .actions import InDoubt, LostRequest

log = logging.getLogger("utxod.in_doubt")

FILE_NAME: Final = "in-doubt.jsonl"
# What may wait for a disk that takes nothing, in bytes.
_MOST_WAITING: Final = 1 << 26
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 10.0
# How long the daemon's end waits for the disk.
_CLOSE_SECONDS: Final = 2.0


class InDoubtLog:
    """directory: made when the first line is written. store: the set that the lines are about. most_waiting: bytes that
    are kept while they can't be written."""

    def __init__(self, directory: Path, store: str, most_waiting: int = _MOST_WAITING) -> None:
        self._path = directory / FILE_NAME
        self._store = store
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._waiting = bytearray()
        self._closing = False
        self._is_begun = False
        self._thread = threading.Thread(target=self._run, name="in-doubt log", daemon=True)
        self._thread.start()

    def add(self, action: InDoubt | LostRequest) -> None:
        """Returns at once."""
        if isinstance(action, InDoubt):
            what = {"txid": action.key[::-1].hex(), "operation": action.operation}
            text = "transaction %s is in doubt: %s failed: %s"
            log.error(text, what["txid"], action.operation, action.reason, extra=dict(what))
        else:
            what = {"operation": action.operation, "request": bytes(action.body).hex()}
            about = {"operation": action.operation}
            log.error("a request to %s is in doubt: %s", action.operation, action.reason, extra=about)
        line = json.dumps({"store": self._store, **what, "reason": action.reason}).encode() + b"\n"
        with self._changed:
            if self._waiting and len(self._waiting) + len(line) > self._most_waiting:
                log.error("that is lost to %s: %d bytes wait for the disk already", self._path, len(self._waiting))
                return
            self._waiting += line
            self._changed.notify()

    def close(self) -> None:
        """Waits until all is written, as long as that can take, and says how much is not."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_SECONDS)
        if self._waiting:
            log.error("%d lines are lost to %s", self._waiting.count(b"\n"), self._path)

    def _run(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                waiting = bytes(self._waiting)
            if not waiting:
                return
            try:
                written = self._write(waiting)
            except OSError as error:
                if self._closing:
                    return
                pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)
                failures += 1
                lines = waiting.count(b"\n")
                log.error("%d lines could not be written to %s: %s; tried again", lines, self._path, error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, pause)
            else:
                failures = 0
                with self._changed:
                    del self._waiting[:written]

    def _write(self, lines: bytes) -> int:
        """Returns how many bytes the disk has taken."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_broken = not self._is_begun and self._ends_amid_a_line()
        with self._path.open("ab", buffering=0) as file:
            if is_broken:
                file.write(b"\n")
            self._is_begun = True
            return file.write(lines)

    def _ends_amid_a_line(self) -> bool:
        """As a daemon leaves it that was killed in a write."""
        with suppress(OSError), self._path.open("rb") as file:  # there is none, or nothing in it
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
        return False
