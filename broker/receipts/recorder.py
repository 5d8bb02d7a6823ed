"""The recorder: takes the daemon's receipts out of the memory that they share and writes them into the ring.

It looks now and then, so that the daemon need not wake it. Where the disk takes nothing it says so
once, drops what comes and counts it, and goes on when the disk is back. When the daemon is gone, however that came, it
reads to the end, writes down how many messages there have been, and ends.
"""

import logging
import select
import socket
import time
from pathlib import Path
from typing import Final

from .channel import MESSAGE_HEAD
from .mailbox import Mailbox
from .records import pack_ended
from .ring import Message, Ring

log = logging.getLogger("utxod.receipts")

# Between two looks. A receipt is not found before; there must be room for what comes meanwhile.
_PAUSE_SECONDS: Final = 0.05
# Between two tries to open a ring.
_OPEN_SECONDS: Final = 1.0
# Looks at the two clocks: who is stopped in one of them has the others.
_LOOKS: Final = 3


class Recorder:
    """link: to the daemon, which sends nothing there. mailbox: where its messages are. epoch: of the daemon's start.
    directory, size: of the ring, in bytes."""

    def __init__(self, link: socket.socket, mailbox: Mailbox, epoch: int, directory: Path, size: int) -> None:
        self._link = link
        self._mailbox = mailbox
        self._epoch = epoch
        self._directory = directory
        self._size = size
        self._ring: Ring | None = None
        self._next_try = 0.0
        self._dropped = 0
        self._is_told = False

    def run(self) -> None:
        """Returns when the daemon is gone, and all is written."""
        while not self._is_over():
            self._record(self._take())
        now = time.monotonic_ns() // 1000
        ended = Message(self._epoch, self._mailbox.number + 1, now, pack_ended(self._epoch, now))
        self._record([*self._take(), ended])
        if self._dropped:
            log.error("%d messages of receipts are lost", self._dropped)

    def _is_over(self) -> bool:
        """Whether the daemon is gone; that is waited for from one look to the next."""
        return bool(select.select([self._link], [], [], _PAUSE_SECONDS)[0])

    def _take(self) -> list[Message]:
        messages = []
        for packed in self._mailbox.take():
            epoch, number, made = MESSAGE_HEAD.unpack_from(packed)
            messages.append(Message(epoch, number, made, packed[MESSAGE_HEAD.size :]))
        return messages

    def _record(self, messages: list[Message]) -> None:
        if not messages:
            return
        try:
            self._open_ring().write(messages, _clock_offset())
        except OSError as error:
            self._dropped += len(messages)
            if not self._is_told:
                self._is_told = True
                log.error("receipts can't be written: %s; they are dropped until they can be", error)
        else:
            if self._is_told:
                log.warning("receipts are written again; %d messages of them are missing", self._dropped)
                self._is_told, self._dropped = False, 0

    def _open_ring(self) -> Ring:
        """Raises OSError."""
        if self._ring is not None and self._ring.is_gone:
            self._ring.close()
            self._ring = None
        if self._ring is None:
            now = time.monotonic()
            if now < self._next_try:
                raise OSError("the ring is not open")
            self._next_try = now + _OPEN_SECONDS
            self._ring = Ring(self._directory, self._size)
            self._next_try = 0.0
            log.info("receipts are kept in %s", self._ring.path)
        return self._ring


def _clock_offset() -> int:
    """What the time of day is ahead of the daemon's clock, microseconds: by the look that took least."""
    looks = []
    for _ in range(_LOOKS):
        before, time_of_day, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        looks.append((after - before, time_of_day - after))
    return min(looks)[1] // 1000
