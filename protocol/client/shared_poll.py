"""What a client's leader and its idle thread sleep on: one set of descriptors, and a bell that any thread may ring.

Two may sleep, and only one is to be woken. So what the leader polls is itself a descriptor in what the idle thread
polls, and is taken out of it while somebody leads: by a call of the kernel that wakes nobody.
"""

import contextlib
import os
import select
from typing import Final

_MOST: Final = 4  # events at once: of a socket, its monitor, and the bell
_CLOSED: Final = OSError, ValueError  # what is raised once it is, by the kernel and by Python


class SharedPoll:
    """Three descriptors. Any thread may call any method at any time; once it is closed, none does anything."""

    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ending = False
        try:
            self._leaders = select.epoll()
            self._leaders.register(self._bell, select.EPOLLIN)
            self._idle = select.epoll()
            self._idle.register(self._leaders, select.EPOLLIN)
        except BaseException:
            os.close(self._bell)  # the others close themselves
            raise

    def add(self, descriptor: int) -> None:
        self._leaders.register(descriptor, select.EPOLLIN)

    def remove(self, descriptor: int) -> None:
        with contextlib.suppress(*_CLOSED):  # or it was interrupted, and is done again
            self._leaders.unregister(descriptor)

    def ring(self) -> None:
        """Wakes who sleeps. Rung before, it wakes who sleeps next."""
        with contextlib.suppress(*_CLOSED):
            os.eventfd_write(self._bell, 1)

    def wait(self, seconds: float) -> None:
        """The leader sleeps until something can be read, or the bell rings, or the time is over."""
        try:
            for descriptor, _ in self._leaders.poll(seconds, _MOST):
                if descriptor == self._bell:
                    os.eventfd_read(self._bell)
                    if self._ending:
                        self.ring()
        except _CLOSED:  # or another has heard the bell
            return

    def wait_idle(self, seconds: float) -> None:
        """As `wait`, for the idle thread: only the time wakes it from `hold_idle` to `rouse_idle`. A bell rings on."""
        self._idle.poll(seconds, 1)

    def hold_idle(self) -> None:
        """Somebody leads."""
        self._watch(0)

    def rouse_idle(self) -> None:
        """Nobody leads: what can be read by now wakes the idle thread, too."""
        self._watch(select.EPOLLIN)

    def end(self) -> None:
        """Wakes all who sleep, and nobody sleeps any more."""
        self._ending = True
        self.ring()
        self.rouse_idle()

    def close(self) -> None:
        self._idle.close()
        self._leaders.close()
        bell, self._bell = self._bell, -1
        if bell >= 0:
            os.close(bell)

    def _watch(self, events: int) -> None:
        try:
            self._idle.modify(self._leaders, events)
        except _CLOSED:
            return
