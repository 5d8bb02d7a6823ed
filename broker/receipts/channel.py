"""The daemon's side of receipts: passes the records on to the recorder, once a turn, and never waits for it.

They are in memory that both share before a worker is handed what they tell of, and outlive the daemon there. What has
no room there, as the recorder does not keep up, is dropped and counted. The end of a socket says that the daemon is
gone.
"""

import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Any, Final

from .mailbox import Mailbox
from .records import MOST_BYTES

MESSAGE_HEAD: Final = Struct("=QQQ")  # epoch, number, made
# Seconds of a daemon at full load, while the recorder gets no processor.
_ROOM: Final = 1 << 22


class Channel:
    """epoch: of the daemon's start. room: bytes that may wait. dropped: messages that nobody took. theirs: descriptors
    that the recorder inherits: its end of the socket, and the memory. Raises OSError where there are no descriptors."""

    def __init__(self, epoch: int, room: int = _ROOM) -> None:
        self.dropped = 0
        self._epoch = epoch
        self._number = 0  # of the last message
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(theirs.close)
            undo.callback(ours.close)
            memory = Mailbox.make(room)
            undo.callback(os.close, memory)
            self._mailbox = Mailbox(memory)
            undo.callback(self._mailbox.close)
            self._undo = undo.pop_all()
        self.theirs = theirs.fileno(), memory

    def program(self, directory: Path, size: int) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
        """The recorder of a ring of that size: its module, its arguments behind the daemon's pid, its descriptors."""
        arguments = self._epoch, directory, size, *self.theirs
        return "broker.receipts", tuple(map(str, arguments)), self.theirs

    def send(self, records: Sequence[bytes], now: int) -> None:
        """The records of a turn. now: microseconds on the daemon's clock."""
        first, size = 0, MESSAGE_HEAD.size
        for place, record in enumerate(records):
            if size + len(record) > MOST_BYTES and place > first:
                self._put(records[first:place], now)
                first, size = place, MESSAGE_HEAD.size
            size += len(record)
        if records:
            self._put(records[first:], now)

    def figures(self) -> dict[str, Any]:
        """The report's."""
        return {"receipts": {"dropped": self.dropped}}

    def close(self) -> None:
        """The daemon ends. The recorder reads on to the end."""
        self._undo.close()

    def _put(self, records: Sequence[bytes], now: int) -> None:
        self._number += 1
        head = MESSAGE_HEAD.pack(self._epoch, self._number, now)
        if not self._mailbox.put(b"".join((head, *records)), self._number):
            self.dropped += 1  # a number that is missing tells it whoever reads
